"""Backbone, schedule and scales as options of every method."""

import itertools

import pytest

from suite.errors import SuiteError
from suite.experiments.plan import plan, row_at_preset
from suite.experiments.schema import Row, load_experiments
from suite.runs.configs import method_info, names
from suite.runs.options import (
    DEFAULTS,
    AtPreset,
    at_preset,
    check_options,
    check_recipe,
    recipe_options,
    spec_at,
)
from suite.runs.resolve import resolve

METHODS = names("methods")
RECIPES = [(option, value) for option in DEFAULTS for value in names(f"recipes/{option}")]


def resolved(dataset, method, preset="paper", **options):
    return resolve(spec_at(method, preset, 0, options), dataset)


def test_ltm_has_the_released_learning_rate_of_each_backbone(dataset):
    def rate(method, preset, **options):
        return resolved(dataset, method, preset, **options)["optim_wrapper"]["optimizer"]["lr"]

    for method in ("ltm", "ltm_positive"):
        assert rate(method, "paper") == rate(method, "coco-1gpu", schedule="2x") == 0.005
        assert rate(method, "paper", backbone="r101") == rate(method, "paper", backbone="x101_64x4d") == 0.01
        assert rate(method, "paper", backbone="r101", lr=0.003) == 0.003  # a row's own value is the last word
    assert rate("ltm_af", "paper", backbone="r101") == 0.005
    assert rate("ltm", "mini") == 0.002  # the preset's optimizer


def test_what_recipes_bring_are_values_that_the_method_may_have():
    for method in names("methods"):
        for recipe, by_value in method_info(method).get("brings", {}).items():
            for value, options in by_value.items():
                check_recipe(recipe, value)
                assert set(options) <= set(method_info(method)["options"])
                check_options(method, options)


@pytest.mark.parametrize(("option", "value"), RECIPES)
def test_every_method_takes_every_recipe_but_those_it_excludes(option, value, dataset):
    for method in METHODS:
        if option in recipe_options(method):
            assert resolved(dataset, method, **{option: value}) != resolved(dataset, method), method
        else:
            with pytest.raises(SuiteError, match=rf"method '{method}' has no option '{option}'"):
                resolved(dataset, method, **{option: value})


@pytest.mark.parametrize(("schedule", "epochs", "milestones"), [("1.5x", 18, [12, 16]), ("2x", 24, [16, 22])])
@pytest.mark.parametrize("method", [method for method in METHODS if "schedule" in recipe_options(method)])
def test_a_schedule_changes_epochs_and_decay_and_leaves_the_warm_up(
    method, schedule, epochs, milestones, dataset
):
    plain, longer = resolved(dataset, method), resolved(dataset, method, schedule=schedule)
    assert longer["train_cfg"]["max_epochs"] == epochs
    warm_up, decay = longer["param_scheduler"]
    assert warm_up == plain["param_scheduler"][0]
    assert warm_up["type"] == plain["param_scheduler"][0]["type"]
    assert decay == {**plain["param_scheduler"][1], "end": epochs, "milestones": milestones}
    assert longer["optim_wrapper"] == plain["optim_wrapper"]


def test_warm_ups_differ_between_methods(dataset):
    kinds = {m: resolved(dataset, m, schedule="2x")["param_scheduler"][0]["type"] for m in ("paa", "ltm")}
    assert kinds == {"paa": "ConstantLR", "ltm": "LinearLR"}


def test_a_backbone_replaces_the_methods_own(dataset):
    for method in METHODS:
        if "backbone" not in recipe_options(method):
            continue
        backbone = resolved(dataset, method, backbone="x101_64x4d_dcn")["model"]["backbone"]
        assert (backbone["type"], backbone["depth"], backbone["groups"]) == ("ResNeXt", 101, 64)
        assert tuple(backbone["stage_with_dcn"]) == (False, False, True, True)
        assert resolved(dataset, method, backbone="r101")["model"]["backbone"]["depth"] == 101


@pytest.mark.parametrize("method", ["ltm", "faster_rcnn"])
def test_recipes_combine_with_each_other_and_with_options(method, dataset):
    config = resolved(
        dataset,
        method,
        backbone="r101",
        schedule="2x",
        train_scales="640-800",
        test_scales="480-1280",
        lr=0.5,
    )
    assert config["model"]["backbone"]["depth"] == 101
    assert config["train_cfg"]["max_epochs"] == 24
    assert config["train_dataloader"]["dataset"]["pipeline"][2]["type"] == "RandomResize"
    assert config["test_cfg"]["type"] == "MultiScaleLoop"
    assert config["optim_wrapper"]["optimizer"]["lr"] == 0.5
    scales = config["test_dataloader"]["dataset"]["pipeline"][1]["transforms"][0]
    assert [scale["scale"][1] for scale in scales] == [480, 640, 800, 960, 1120, 1280]


@pytest.mark.parametrize("preset", names("presets"))
def test_defaults_spelled_out_are_the_same_run(preset):
    spelled = {**DEFAULTS, "train_scales": 800}
    assert spec_at("ltm", preset, 0, spelled) == spec_at("ltm", preset, 0)
    assert at_preset("ltm", spelled, preset) == AtPreset({}, "", ())


@pytest.mark.parametrize("preset", ["mini", "smoke"])
def test_a_small_preset_leaves_out_schedule_and_training_scale(preset, dataset):
    options = {"K": 40, "schedule": "2x", "train_scales": "640-800"}
    assert at_preset("ltm", options, preset) == AtPreset(
        {"K": 40}, "", ("schedule 2x", "train_scales 640-800")
    )
    assert resolved(dataset, "ltm", preset, **options) == resolved(dataset, "ltm", preset, K=40)


@pytest.mark.parametrize(
    ("method", "options", "reason"),
    [
        ("ltm", {"backbone": "r101"}, "it trains one backbone; PRESET=paper trains r101"),
        ("ltm", {"test_scales": "400-1200"}, "it tests at one scale; PRESET=paper tests at 400-1200"),
        ("cornernet", {}, "its Hourglass-104 has no small form; PRESET=paper trains it"),
        ("ga_retinanet", {}, "its masked convolutions run on GPUs alone; PRESET=paper trains it"),
    ],
)
def test_what_a_small_preset_cannot_measure(method, options, reason, dataset):
    assert at_preset(method, options, "mini").why_not == f"not measurable at preset mini: {reason}"
    row = Row(label="row", method=method, options=options)
    assert row_at_preset(row, "mini", [0, 1]).specs == []
    assert [spec.options for spec in row_at_preset(row, "paper", [0, 1]).specs] == [options, options]
    with pytest.raises(SuiteError, match="not measurable at preset mini"):
        resolved(dataset, method, "mini", **options)


@pytest.mark.parametrize(
    ("preset", "options", "message"),
    [
        (preset, *case)
        for preset, case in itertools.product(
            ["mini", "paper"],
            [
                (
                    {"backbone": "r110"},
                    r"option 'backbone': expected one of r50, r101.*found 'r110'\. Did you mean",
                ),
                ({"schedule": "3x"}, r"option 'schedule': expected one of 1x, 1\.5x, 2x, found '3x'"),
                ({"train_scales": 600}, r"option 'train_scales': expected one of 800, 480-960.*found 600"),
                ({"backbone": "r101", "K": 0}, r"option 'K' of method 'ltm': .*found 0"),
                ({"backbon": "r101"}, r"no option 'backbon'\. Did you mean 'backbone'"),
            ],
        )
    ],
)
def test_mistakes_are_found_at_every_preset(preset, options, message):
    with pytest.raises(SuiteError, match=message):
        check_options("ltm", options)
    with pytest.raises(SuiteError, match=message):
        row_at_preset(Row(label="row", method="ltm", options=options), preset, [0])


def test_the_plan_shares_a_run_with_the_row_without_schedule_and_has_none_for_another_backbone(
    write_experiment, dataset, tmp_path
):
    rows = [{"label": "RetinaNet", "method": "retinanet"},
            {"label": "longer", "method": "retinanet", "options": {"schedule": "2x"}},
            {"label": "deeper", "method": "retinanet", "options": {"backbone": "r101"}}]  # fmt: skip
    experiments = load_experiments(write_experiment("ltm.table5", rows=rows).parent.parent)
    runs = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs
    assert [[use.row for use in run.uses] for run in runs] == [["RetinaNet", "longer"]]
    assert len(plan(experiments, "paper", [0], dataset, tmp_path / "runs").runs) == 3
