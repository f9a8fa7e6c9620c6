"""What a study's file may say, and what its errors name."""

import re
from pathlib import Path
from typing import Any

import pytest

from suite.errors import SuiteError
from suite.tuning.checks import check_study
from suite.tuning.study import SearchDimension, load_study, study_path

from .cases import TPE, write_study

STUDIES = Path(__file__).resolve().parents[2] / "experiments" / "studies"


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_studies_hold_out_training_images(path: Path) -> None:
    study = load_study(path)
    assert study.split == "holdout"
    assert study.name == path.stem


def test_there_are_shipped_studies() -> None:
    names = {path.stem for path in STUDIES.glob("*.yaml")}
    assert names >= {
        "ltm_tpe", "ltm_table5_grid", "free_anchor_sec4_3", "ltm_af", "paa", "ltm_constrained", "ltm_pareto",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        ({"type": "int", "low": 10, "high": 50, "step": 10}, [10, 20, 30, 40, 50]),
        ({"type": "int", "low": 1, "high": 3}, [1, 2, 3]),
        ({"type": "int", "low": 1, "high": 7, "step": 3}, [1, 4, 7]),
        ({"type": "float", "low": 0.3, "high": 0.7, "step": 0.1}, [0.3, 0.4, 0.5, 0.6, 0.7]),
        ({"type": "categorical", "choices": ["b", "c"]}, ["b", "c"]),
        ({"type": "float", "low": 0.3, "high": 0.7}, None),
        ({"type": "int", "low": 1, "high": 9, "log": True}, None),
    ],
)
def test_values_of_a_dimension(dimension: dict[str, Any], values: list[Any] | None) -> None:
    assert SearchDimension.model_validate(dimension).values == values


@pytest.mark.parametrize(
    ("changes", "line_of", "message"),
    [
        ({"trails": 5}, "trails:", "unknown field. Did you mean 'trials'?"),
        ({"trials": 0}, "trials:", "greater than or equal to 1"),
        ({"space": {"K": {"type": "int", "low": 9, "high": 2}}}, "K:", "'low', 9, is above 'high', 2"),
        ({"space": {"K": {"type": "int", "low": 0.5, "high": 2}}}, "K:", "needs whole numbers"),
        ({"space": {"K": {"type": "int", "choices": [1]}}}, "K:", "needs 'low' and 'high'"),
        ({"space": {"K": {"type": "categorical"}}}, "K:", "needs 'choices'"),
        ({"space": {"K": {"type": "float", "low": 0, "high": 1, "log": True}}}, "K:", "'low' above 0"),
        (
            {"space": {"K": {"type": "float", "low": 1, "high": 2, "log": True, "step": 1}}},
            "K:",
            "exclude each other",
        ),
        ({"space": {"K": {"type": "int", "low": 1, "high": 8, "step": 3}}}, "K:", "whole number of steps"),
        ({"split": "holdout"}, "split:", "needs the field 'holdout'"),
        ({"seeds": [0, 0]}, "seeds:", "distinct"),
        (
            {"objectives": 2 * [{"metric": "AP", "direction": "maximize"}]},
            "objectives:",
            "stands twice in AP, AP",
        ),
        ({"sampler": {"name": "tpe", "seed": 0}}, "sampler:", "n_startup_trials: Field required"),
        ({"sampler": {"name": "best", "seed": 0}}, "sampler:", "'tpe'"),
        (
            {"sampler": {**TPE, "multivariate": False, "group": True}},
            "sampler:",
            "'group' needs 'multivariate'",
        ),
        ({"pruner": {"name": "median"}}, "pruner:", "n_warmup_steps: Field required"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, changes: dict[str, Any], line_of: str, message: str) -> None:
    path = write_study(tmp_path, **changes)
    with pytest.raises(SuiteError) as caught:
        load_study(path)
    assert message in str(caught.value)
    lines = path.read_text().splitlines()
    line = 1 + next(number for number, text in enumerate(lines) if text.strip().startswith(line_of))
    assert f"{path}:{line}:" in str(caught.value)


def test_a_condition_may_be_one_value() -> None:
    one = SearchDimension.model_validate({"type": "int", "low": 1, "high": 2, "when": {"separation": "c"}})
    assert one.when == {"separation": ["c"]}


def test_the_name_is_the_files(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    other = path.with_name("other.yaml")
    path.rename(other)
    with pytest.raises(SuiteError, match="expected 'other'"):
        load_study(other)


def test_an_unknown_study_is_told_what_there_is(tmp_path: Path) -> None:
    folder = write_study(tmp_path).parent
    assert study_path(folder, "tiny").name == "tiny.yaml"
    with pytest.raises(SuiteError, match="Did you mean 'tiny'"):
        study_path(folder, "tyni")


def test_the_pages_about_studies_are_true(project: Path, tmp_path: Path) -> None:
    page = (project / "docs" / "how-to" / "add-a-study.md").read_text()
    path = tmp_path / "my_study.yaml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0])
    study = load_study(path)
    check_study(study, path, study.preset)
    listed = re.findall(r"^\| `(\w+)` \|", (project / "docs" / "how-to" / "run-a-study.md").read_text(), re.M)
    assert sorted(listed) == sorted(one.stem for one in (project / "experiments" / "studies").glob("*.yaml"))
