PRESET ?= mini
SEEDS ?=
EXPERIMENTS ?= core
COCO_ROOT ?=
EXECUTOR ?= ray
PYTHON ?= python3
ADDRESS ?=
TORCH_INDEX ?=
GPUS ?=
BATCH ?=
ACCUMULATE ?=
FAST ?=
CPUS ?=
UNTIL ?=
BUDGET ?=
PORT ?= 5000

export TORCH_INDEX
BIN := .venv/bin
IN_PARALLEL = --numprocesses auto --maxprocesses 8 --dist worksteal
REQUEST = --preset $(PRESET) --experiments $(EXPERIMENTS) $(if $(SEEDS),--seeds $(SEEDS)) \
	$(if $(COCO_ROOT),--coco-root '$(COCO_ROOT)') $(if $(GPUS),--gpus-per-run $(GPUS)) \
	$(if $(BATCH),--batch $(BATCH)) $(if $(ACCUMULATE),--accumulate $(ACCUMULATE)) \
	$(if $(filter-out 0 no false,$(FAST)),--fast)
SETTLE = $(if $(UNTIL),--until '$(UNTIL)') $(if $(BUDGET),--budget '$(BUDGET)')
START = --executor $(EXECUTOR) $(if $(ADDRESS),--address $(ADDRESS)) $(if $(CPUS),--cpus $(CPUS))

.DEFAULT_GOAL := help
.PHONY: help setup reproduce-tables plan calibrate report rehearsal weights doctor study ui test test-all gpu-check lint clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' \
		| awk -F'|' '{printf "%-26s %s\n", $$1, $$2}'
	@echo
	@echo '  Variables: PRESET=$(PRESET)  SEEDS=0,1,2  EXPERIMENTS=$(EXPERIMENTS)  COCO_ROOT=/path/to/coco'
	@echo '             EXECUTOR=ray|local  ADDRESS=<host:port of a running Ray cluster>  CPUS=<cores to fill>'
	@echo '             GPUS=<per run: 4, 0.5, 16>  BATCH=<images per step>  ACCUMULATE=<passes per step>  FAST=1'
	@echo '             UNTIL=settled BUDGET=2h  (goes on with the seeds that most probably settle a claim)'
	@echo '             PYTHON=python3.11   TORCH_INDEX=<pip index with your build of torch>'

setup: ## Make .venv with everything in it (compiles mmcv once: about 10 minutes on 2 cores)
	@$(PYTHON) tools/make_environment.py

reproduce-tables: setup ## Train what is missing and render the tables and figures of PRESET
	@$(BIN)/suite reproduce $(REQUEST) $(SETTLE) $(START)

plan: setup ## Show which runs that would take, and their cost; trains nothing
	@$(BIN)/suite plan $(REQUEST) $(SETTLE)

calibrate: setup ## Measure a few steps of each kind of run on this machine: `make plan` then knows its times
	@$(BIN)/suite calibrate $(REQUEST) $(START)

report: setup ## Render the tables and figures from the runs that are there
	@$(BIN)/suite report $(REQUEST)

rehearsal: setup ## Carry out every run of PRESET=paper for a few steps on this machine: COCO_ROOT=...
	@$(BIN)/suite reproduce --preset rehearsal --executor $(EXECUTOR) \
		--experiments $(if $(filter command line environment,$(origin EXPERIMENTS)),$(EXPERIMENTS),all) \
		$(if $(COCO_ROOT),--coco-root '$(COCO_ROOT)') $(if $(ADDRESS),--address $(ADDRESS))

weights: setup ## Download the pretrained weights that PRESET's runs start from
	@$(BIN)/suite weights --preset $(PRESET) --experiments $(EXPERIMENTS)

doctor: setup ## Check that this machine has what PRESET needs
	@$(BIN)/suite doctor --preset $(PRESET) --experiments $(EXPERIMENTS) $(if $(GPUS),--gpus-per-run $(GPUS)) \
		$(if $(COCO_ROOT),--coco-root '$(COCO_ROOT)')

study: setup ## Search a method's options: STUDY=ltm_tpe, a file of experiments/studies (resumes)
	@$(if $(STUDY),,echo "error: STUDY is missing: name a file of experiments/studies, like STUDY=ltm_tpe" >&2; exit 2)
	@$(BIN)/suite tune $(STUDY) $(if $(filter command line environment,$(origin PRESET)),--preset $(PRESET)) \
		$(START) $(if $(COCO_ROOT),--coco-root '$(COCO_ROOT)')

ui: setup ## Open the MLflow pages of all runs on 127.0.0.1 (PORT=5000)
	@$(BIN)/suite ui --port $(PORT)

test: setup ## Run the quick tests
	@$(BIN)/python -m pytest -m "not slow" $(IN_PARALLEL)

test-all: setup ## Run every test
	@$(BIN)/python -m pytest $(IN_PARALLEL)

gpu-check: setup ## Check what only a GPU can show, and measure it: reports/gpu/gpu-check.md
	@$(BIN)/python tools/gpu_check.py

lint: setup ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean: ## Remove caches; keeps .venv, data, runs and reports
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build
	@find suite tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
