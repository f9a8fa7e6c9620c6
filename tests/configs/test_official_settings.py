"""Every setting of the papers' trainings and tests, held against what their authors released.

``official_settings.yaml`` has the facts and their sources. A field of a config that it does not mention
fails, as does one that it mentions and the config lacks: nothing is unheld.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from suite.data.dataset import Dataset, Split
from suite.experiments.schema import load_experiments
from suite.runs.options import DEFAULTS, spec_at
from suite.runs.resolved import resolve_run
from suite.runs.resources import Resources

OFFICIAL = yaml.safe_load((Path(__file__).parent / "official_settings.yaml").read_text())
CASES: dict[str, dict[str, str]] = OFFICIAL["cases"]
METHODS = {case["method"] for case in CASES.values()}
UNSEEN = (
    "train_dataloader.sampler.seed",
    "train_dataloader.dataset.seed",
    "randomness.seed",
    ".metainfo.classes",
)
"""Fields of a run, not of its method. What changes no number the identity leaves out by itself."""


def covers(block: dict[str, Any], case: str) -> bool:
    """Whether a block is about a case: names and patterns, those after ``!`` left out."""
    patterns = block["cases"]
    left_out = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    return any(fnmatchcase(case, pattern) for pattern in patterns) and not any(
        fnmatchcase(case, pattern) for pattern in left_out
    )


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of everything in a config; lists are looked into where they hold mappings."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and _holds_mappings(value):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}.{index}")
    else:
        yield path, value


def _holds_mappings(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_holds_mappings, value)))


def config_of(case: str, tmp_path: Path) -> dict[str, Any]:
    """What the identity of a case's run holds at preset paper on a dataset of 80 categories, by path."""
    split = Split(tmp_path / "annotations.json", tmp_path, 4, 9, "0" * 64)
    categories = tuple(f"category {number}" for number in range(80))
    dataset = Dataset("coco", "coco", tmp_path, split, split, categories)
    options = {option: value for option, value in CASES[case].items() if option != "method"}
    spec = spec_at(CASES[case]["method"], "paper", 0, options)
    run = resolve_run(spec, dataset, Resources(24.0, 8.0), tmp_path / "runs")
    found = dict(leaves(run.identity.config))
    # The identity knows weights by name and content; suite/runs/weights.yaml holds the content.
    checkpoint = "model.backbone.init_cfg.checkpoint"
    found[checkpoint] = found[checkpoint].split()[0]
    return {path: value for path, value in found.items() if not path.endswith(UNSEEN) and value != []}


def official(case: str) -> tuple[dict[str, Any], set[str]]:
    """What the config of a case has to hold, by path, and what it must lack; one block says each field."""
    expected: dict[str, Any] = {}
    absent: set[str] = set()
    for block in OFFICIAL["blocks"]:
        if not covers(block, case):
            continue
        settings = dict(leaves(block.get("settings", {})))
        for path, both in block.get("differs", {}).items():
            assert both["released"] != both["here"], f"{path}: no difference"
            if both["here"] == "absent":
                absent.add(path)
            else:
                settings[path] = both["here"]
        twice = sorted(settings.keys() & expected.keys())
        assert not twice, f"{case}: two blocks set {twice}"
        expected |= settings
    return expected, absent


@pytest.mark.parametrize("case", CASES)
def test_every_setting_is_the_released_one_or_a_difference_that_is_declared(
    case: str, tmp_path: Path
) -> None:
    config = config_of(case, tmp_path)
    expected, absent = official(case)
    unheld = sorted(config.keys() - expected.keys())
    assert not unheld, "add to official_settings.yaml, with their source"
    assert {path: config.get(path, "absent") for path in expected} == expected
    assert not [path for path in absent if any(own.startswith(path) for own in config)]


def test_every_row_of_the_papers_methods_is_held(project: Path) -> None:
    """What a row sweeps, such as K, is its own; method, backbone, schedule and scales are held."""
    held = [{**DEFAULTS, **case} for case in CASES.values()]
    for experiment in load_experiments(project / "experiments"):
        for row in experiment.rows:
            if row.method in METHODS:
                recipes = {option: str(row.options.get(option, DEFAULTS[option])) for option in DEFAULTS}
                assert {"method": row.method, **recipes} in held, f"{experiment.id}: {row.label}"


def test_every_block_has_a_source_and_a_case_and_every_source_a_place() -> None:
    sources = OFFICIAL["sources"]
    assert all(set(one) in ({"repository", "commit"}, {"paper"}) for one in sources.values())
    for block in OFFICIAL["blocks"]:
        assert block["source"] and set(block["source"]) <= set(sources) and block["file"]
        for pattern in block["cases"]:
            assert any(fnmatchcase(case, pattern.removeprefix("!")) for case in CASES), pattern


def test_what_is_not_taken_over_stands_in_the_documentation(project: Path) -> None:
    page = (project / "docs" / "methods.md").read_text()
    section = page.partition("## What is not taken over")[2].partition("\n## ")[0]
    for block in OFFICIAL["blocks"]:
        for path in block.get("differs", {}):
            assert f"`{path}`" in section, path
