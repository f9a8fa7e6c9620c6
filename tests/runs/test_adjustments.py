"""GPUS, BATCH, ACCUMULATE and FAST: what they make of a config, of the resources, and what is refused."""

from typing import Any

import pytest

from suite.errors import SuiteError
from suite.runs.adjustments import NONE, Adjustments, remarks
from suite.runs.options import spec_at
from suite.runs.presets import report_name, resources_of
from suite.runs.resolve import preset_batch, resolve
from suite.runs.resolved import resolve_run
from suite.runs.resources import Resources
from suite.runs.spec import RunSpec


def resolved(dataset, method: str, preset: str, adjustments: Adjustments) -> dict[str, Any]:
    return resolve(RunSpec(method, preset, 0, {}, adjustments), dataset)


def steps(config: dict[str, Any], resources: Resources) -> tuple[int, int, int]:
    """Images per process and pass, passes per step, images per step."""
    batch, passes = (
        config["train_dataloader"]["batch_size"],
        config["optim_wrapper"].get("accumulative_counts", 1),
    )
    return batch, passes, batch * passes * resources.processes


@pytest.mark.parametrize(
    ("preset", "asked", "expected", "lr"),
    [
        ("paper", NONE, (2, 1, 16), 1),
        ("paper", Adjustments(gpus=4), (4, 1, 16), 1),
        ("paper", Adjustments(gpus=1), (16, 1, 16), 1),
        ("paper", Adjustments(gpus=16), (1, 1, 16), 1),
        ("paper", Adjustments(gpus=0.5), (16, 1, 16), 1),
        ("paper", Adjustments(gpus=4, accumulate=2), (2, 2, 16), 1),
        ("paper", Adjustments(gpus=1, accumulate=8), (2, 8, 16), 1),
        ("paper", Adjustments(batch=32), (4, 1, 32), 2),
        ("paper", Adjustments(gpus=4, batch=8), (2, 1, 8), 0.5),
        ("coco-1gpu", NONE, (16, 1, 16), 1),
        ("coco-1gpu", Adjustments(gpus=2, batch=32, accumulate=2), (8, 2, 32), 2),
        ("mini", Adjustments(batch=4), (4, 1, 4), 0.5),
    ],
)
def test_images_per_step_and_learning_rate(dataset, preset, asked, expected, lr):
    plain = resolved(dataset, "ltm", preset, NONE)
    config = resolved(dataset, "ltm", preset, asked)
    assert steps(config, resources_of("ltm", preset, asked)) == expected
    assert config["optim_wrapper"]["optimizer"]["lr"] == lr * plain["optim_wrapper"]["optimizer"]["lr"]


def test_a_preset_states_images_per_step_for_a_method(dataset):
    assert (preset_batch("cornernet", "coco-1gpu"), preset_batch("ltm", "coco-1gpu")) == (48, 16)
    assert resolved(dataset, "cornernet", "coco-1gpu", NONE)["train_dataloader"]["batch_size"] == 48
    assert preset_batch("cornernet", "paper") == 48


def test_a_warm_up_counted_in_steps_is_counted_in_passes(dataset):
    plain = resolved(dataset, "ltm", "paper", NONE)["param_scheduler"]
    passes = resolved(dataset, "ltm", "paper", Adjustments(gpus=2, accumulate=4))["param_scheduler"]
    assert (plain[0]["end"], passes[0]["end"]) == (500, 2000)
    assert passes[1] == plain[1]  # in epochs


@pytest.mark.parametrize(
    ("preset", "asked", "problem", "remedy"),
    [
        ("paper", Adjustments(gpus=3), "16 images per step cannot be shared by 3 GPUs", "1, 2, 4, 8, 16"),
        ("paper", Adjustments(batch=12), "12 images per step cannot be shared by 8 GPUs", "multiple of 8"),
        ("paper", Adjustments(gpus=0.5, accumulate=3), "by one GPU in 3 forward passes", "multiple of 3"),
        ("paper", Adjustments(accumulate=4), "8 GPUs in 4 forward passes", "GPUS times ACCUMULATE"),
        ("mini", Adjustments(fast=True), "FAST=1 trains in bfloat16 on a GPU", "coco-1gpu"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(dataset, preset, asked, problem, remedy):
    with pytest.raises(SuiteError, match=problem) as caught:
        resolved(dataset, "ltm", preset, asked)
    assert "ltm at preset" in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("asked", [{"gpus": 1.5}, {"gpus": -1}, {"gpus": float("nan")}, {"batch": 0},
                                   {"accumulate": 0}])  # fmt: skip
def test_impossible_numbers_are_refused(asked):
    with pytest.raises(SuiteError, match=r"(GPUS|BATCH|ACCUMULATE)=.*expected"):
        Adjustments(**asked)


def test_they_are_part_of_the_identity(dataset, tmp_path):
    def run_id(asked: Adjustments) -> str:
        spec = RunSpec("ltm", "coco-1gpu", 0, {}, asked)
        return resolve_run(spec, dataset, resources_of("ltm", "coco-1gpu", asked), tmp_path).run_id

    others = [Adjustments(gpus=2), Adjustments(batch=32), Adjustments(accumulate=2), Adjustments(fast=True)]
    assert len({run_id(asked) for asked in [NONE, *others]}) == 5
    # A half of a GPU computes what a whole one does.
    assert run_id(NONE) == run_id(Adjustments(gpus=1)) == run_id(Adjustments(gpus=0.5))


def test_nothing_asked_changes_nothing(dataset):
    assert resolved(dataset, "ltm", "mini", NONE) == resolve(spec_at("ltm", "mini", 0), dataset)
    assert resolved(dataset, "ltm", "paper", Adjustments(gpus=8)) == resolved(dataset, "ltm", "paper", NONE)


def test_a_preset_may_ask_for_processes_on_a_cpu(dataset, monkeypatch):
    from suite.runs import presets

    whole = presets.preset_info("mini")
    monkeypatch.setattr(presets, "preset_info", lambda name: {**whole, "processes": 2, "cpus": 2})
    given = resources_of("ltm", "mini")
    assert given == Resources(2, 0, cpu_processes=2)
    assert given.identity == {"device": "CPU", "processes": 2, "threads": 1}
    config = resolved(dataset, "ltm", "mini", NONE)
    assert config["env_cfg"]["dist_cfg"] == {"backend": "gloo"}
    assert config["model_wrapper_cfg"]["device_ids"] is None


def test_cores_follow_the_gpus():
    assert resources_of("ltm", "paper") == Resources(24, 8)
    assert resources_of("ltm", "paper", Adjustments(gpus=2)) == Resources(6, 2)
    assert resources_of("ltm", "coco-1gpu", Adjustments(gpus=0.5)) == Resources(6, 0.5)


def test_names_and_variables():
    asked = Adjustments(gpus=0.5, batch=32, accumulate=2, fast=True)
    assert asked.variables == ["GPUS=0.5", "BATCH=32", "ACCUMULATE=2", "FAST=1"]
    assert asked.suffix == "-gpus0.5-batch32-accumulate2-fast"
    assert (NONE.variables, NONE.suffix) == ([], "")


def test_a_report_has_its_own_folder(dataset):
    assert report_name("mini", dataset, Adjustments(batch=4)) == "mini-batch4"


def test_spec_json_gives_the_spec_back(dataset, tmp_path):
    spec = RunSpec("ltm", "coco-1gpu", 3, {"K": 20}, Adjustments(gpus=2, fast=True))
    run = resolve_run(spec, dataset, resources_of("ltm", "coco-1gpu", spec.adjustments), tmp_path)
    assert RunSpec.of(run.as_spec_json(dataset)) == spec
    written_before = {key: value for key, value in run.as_spec_json(dataset).items() if key != "adjustments"}
    assert RunSpec.of(written_before).adjustments == NONE


def test_remarks_say_what_changed():
    own = {"ltm": Resources(24, 8), "cornernet": Resources(24, 8)}
    given = {"ltm": Resources(12, 4), "cornernet": Resources(12, 4)}
    batches = {"ltm": 16, "cornernet": 48}
    asked = Adjustments(gpus=4, batch=32, accumulate=2, fast=True)
    texts = remarks(asked, own, given, batches)
    assert texts[0] == "Trained on 4 GPUs per run where the preset has 8."
    assert any("ltm: 32 images per step in place of 16" in text and "by 2 (" in text for text in texts)
    assert any("cornernet: 32 images per step in place of 48" in text and "0.6667" in text for text in texts)
    assert any("2 forward passes" in text for text in texts) and "FAST=1" in texts[-1]
    assert remarks(NONE, own, own, batches) == []
    assert remarks(Adjustments(gpus=8), own, own, batches) == []
