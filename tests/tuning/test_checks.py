"""Studies that are refused before any trial starts: each message names the file and the line."""

from collections.abc import Callable
from typing import Any

import pytest

from suite.data.dataset import Dataset
from suite.errors import SuiteError
from suite.tuning.checks import check_resolved, check_study
from suite.tuning.study_plan import StudyPlan

from .cases import MEDIAN, TPE

MakePlan = Callable[..., StudyPlan]
GRID = {"name": "grid", "seed": 0}
K = {"type": "int", "low": 5, "high": 20}


def _line(plan: StudyPlan, start: str) -> int:
    lines = plan.path.read_text().splitlines()
    return 1 + next(number for number, text in enumerate(lines) if text.strip().startswith(start))


@pytest.mark.parametrize(
    ("changes", "at", "messages"),
    [
        ({"method": "ltn"}, "method:", ["method 'ltn' is unknown", "Did you mean 'ltm'?"]),
        ({"space": {"bta": K}}, "bta:", ["no option 'bta'", "Did you mean 'beta'?"]),
        ({"space": {"K": {**K, "low": 0}}}, "K:", ["expected a whole number of at least 1, found 0"]),
        (
            {"space": {"prior": {"type": "float", "low": 0.1, "high": 1.5}}},
            "prior:",
            ["below 1, found 1.5"],
        ),
        ({"space": {"K": {"type": "float", "low": 5, "high": 9.5}}}, "K:", ["expected int", "found 9.5"]),
        (
            {"space": {"negative_matching": {"type": "categorical", "choices": ["eq25", "eq26"]}}},
            "negative_matching:",
            ["found 'eq26'", "Did you mean 'eq25'?"],
        ),
        ({"options": {"S": 0}}, "S:", ["found 0"]),
        ({"options": {"K": 7}, "space": {"K": K}}, "K:", ["also among the fixed options"]),
        ({"space": {"K": {**K, "when": {"beta": 1}}}}, "K:", ["'beta', which is not in the space"]),
        (
            {"space": {"K": K, "S": {"type": "int", "low": 1, "high": 2, "when": {"K": 90}}}},
            "S:",
            ["K to be 90, which it never is"],
        ),
        (
            {"space": {"beta": {"type": "float", "low": 0.1, "high": 1.0}}, "sampler": GRID},
            "beta:",
            ["a grid sampler needs a grid", "'step'"],
        ),
        ({"space": {"K": K}, "sampler": GRID, "trials": 9}, "trials:", ["16 points, found 9"]),
        (
            {
                "method": "paa",
                "space": {
                    "separation": {"type": "categorical", "choices": ["c", "fixed_number"]},
                    "topk": {**K, "when": {"separation": "c"}},
                },
                "sampler": GRID,
            },
            "topk:",
            ["no conditional dimensions"],
        ),
        (
            {"objectives": [{"metric": "mAP", "direction": "maximize"}]},
            "- metric: mAP",
            ["metric 'mAP' is unknown", "Did you mean 'AP'?"],
        ),
        (
            {"constraints": [{"metric": "memory", "at_most": 5}]},
            "- metric: memory",
            ["metric 'memory' is unknown"],
        ),
        ({"pruner": MEDIAN}, "pruner:", ["prunes by AP", "minimize step_seconds"]),
        (
            {
                "objectives": [
                    {"metric": "AP", "direction": "maximize"},
                    {"metric": "step_seconds", "direction": "minimize"},
                ],
                "pruner": MEDIAN,
            },
            "pruner:",
            ["cannot prune with several objectives"],
        ),
        (
            {"sampler": {"name": "nsgaii", "seed": 0, "population_size": 4, "mutation_prob": None,
                         "crossover_prob": 0.9, "swapping_prob": 0.5}},
            "sampler:",
            ["for several objectives"],
        ),
    ],
)  # fmt: skip
def test_refused_with_file_line_and_remedy(
    plan_of: MakePlan, changes: dict[str, Any], at: str, messages: list[str]
) -> None:
    plan = plan_of(**changes)
    with pytest.raises(SuiteError) as caught:
        check_study(plan.study, plan.path, plan.preset)
    assert f"{plan.path}:{_line(plan, at)}:" in str(caught.value)
    for message in messages:
        assert message in str(caught.value)


def test_an_unknown_preset_is_refused(plan_of: MakePlan) -> None:
    plan = plan_of()
    with pytest.raises(SuiteError, match="preset 'smok' is unknown"):
        check_study(plan.study, plan.path, "smok")


def test_a_corner_of_the_space_that_cannot_be_trained_is_refused(plan_of: MakePlan, dataset: Dataset) -> None:
    plan = plan_of(options={"S": 10}, space={"K": K})
    check_study(plan.study, plan.path, "smoke")
    with pytest.raises(SuiteError, match=r"tiny\.yaml:\d+: field space: .*at most bag_size"):
        check_resolved(plan.study, plan.path, "smoke", dataset)


@pytest.mark.parametrize(
    ("method", "metric", "message"),
    [("ltm", "IoU_error", "predicts IoU"), ("paa", "IoU_error", None), ("ltm", "NR", None)],
)
def test_metrics_that_the_detector_does_not_give(
    plan_of: MakePlan, dataset: Dataset, method: str, metric: str, message: str | None
) -> None:
    space = {"lr": {"type": "float", "low": 0.001, "high": 0.1, "log": True}}
    objective = [{"metric": metric, "direction": "maximize"}]
    plan = plan_of(method=method, space=space, objectives=objective, sampler=TPE)
    check_study(plan.study, plan.path, "smoke")
    if message is None:
        check_resolved(plan.study, plan.path, "smoke", dataset)
        return
    with pytest.raises(SuiteError, match=message):
        check_resolved(plan.study, plan.path, "smoke", dataset)
