"""What the pictures show of the matching functions is what the functions that train compute."""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from suite.detectors.gaussian_mixture import Mixtures
from suite.detectors.mean_max import positive_log_odds
from suite.limits import NEGATIVE_MATCHING
from suite.reporting.pictures import formulas as formulas_module
from suite.reporting.pictures.draw import draw
from suite.reporting.pictures.formulas import FILE, formulas
from suite.reporting.pictures.kinds import WATCHED_OBJECT
from suite.reporting.pictures.mixture import component_densities
from suite.reporting.pictures.model import PictureInput
from suite.reporting.pictures.separation_schemes import SCHEMES
from suite.reporting.pictures.surroundings import bag_of
from suite.reporting.pictures.telemetry import Snapshot, evenly, iou
from suite.reporting.pictures.write_formulas import formulas as computed
from suite.telemetry import AssignmentHook


def leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each list or number of nested mappings, with its keys."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, values


def test_the_file_holds_what_the_functions_that_train_compute() -> None:
    found, expected = dict(leaves(formulas())), dict(leaves(computed()))
    assert found.keys() == expected.keys()
    for path, values in expected.items():
        assert np.shape(found[path]) == np.shape(values), path
        assert np.allclose(found[path], values, rtol=0, atol=1e-6), path


def test_the_file_holds_every_function_and_scheme_that_can_be_asked_for() -> None:
    content = formulas()
    assert {*content["matching"]["negative"], "none"} == set(NEGATIVE_MATCHING)
    assert content["separation"]["labels"].keys() == SCHEMES.keys()
    assert sum(len(points["in_bag"]) for points in content["point_bag"]["points"].values()) == 40


def drawn(kind: str, **settings: Any) -> Any:
    return draw(kind, PictureInput("A title", "a formula", [], None, settings)).numbers  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in NEGATIVE_MATCHING if name != "none"])
def test_the_surfaces_are_those_of_the_file(name: str) -> None:
    table = drawn("matching_functions", negative_matching=name)
    place = dict(zip(formulas()["matching"]["phi"], range(41), strict=True))
    for first, second, well, falsely in table.to_numpy()[::7]:
        row, column = place[second], place[first]
        assert well == pytest.approx(formulas()["matching"]["positive"][row][column], abs=1e-6)
        assert falsely == pytest.approx(formulas()["matching"]["negative"][name][row][column], abs=1e-6)


def test_the_pictures_compute_nothing_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    content = computed()
    content["saturated_linear"]["values"][50] = 0.25
    content["point_bag"]["points"]["128"]["in_bag"] = []
    content["separation"]["labels"]["a"][0] = -1
    monkeypatch.setattr(formulas_module, "read_json", lambda path: content)
    formulas.cache_clear()
    try:
        assert drawn("saturated_linear")["saturated_linear"][50] == 0.25
        assert 128 not in set(drawn("point_bag")["stride"])
        assert drawn("separation_schemes")["scheme_a"][0] == "ignored"
    finally:
        formulas.cache_clear()


def test_the_file_comes_with_the_package(project) -> None:
    _, _, data = (project / "pyproject.toml").read_text().partition("[tool.setuptools.package-data]")
    patterns = data.partition("]")[0].split('"')[1::2]
    assert any(FILE.match(f"suite/{pattern}") for pattern in patterns)


def test_densities_of_a_mixture() -> None:
    parts = {"weights": [0.3, 0.7], "means": [0.4, 2.0], "variances": [0.02, 0.5]}
    mixture = Mixtures(*(torch.tensor([parts[part]], dtype=torch.float64) for part in parts))
    losses = np.linspace(0, 3, 11)
    expected = mixture.log_densities(torch.tensor(losses)[None])[0].exp().numpy()
    assert component_densities(losses, parts) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("beta", [0.5, 0.75])
def test_confidence_around_an_object_is_phi_plus(beta: float) -> None:
    logits, losses = torch.tensor([-3.0, 0.5, 2.0]).double(), torch.tensor([0.1, 0.7, 3.0]).double()
    boxes = [[0.0, 0, 10, 10]] * 3
    around = {
        "anchors": boxes, "predicted": boxes,
        "class_score": logits.sigmoid().tolist(), "localisation_loss": losses.tolist(),
    }  # fmt: skip
    found = bag_of(Snapshot(0, {"anchors": boxes, "positive": [1, 0, 0], "around": around}), 3, beta)
    expected = positive_log_odds(logits, beta * losses).sigmoid()
    assert found.confidence == pytest.approx(expected.numpy(), rel=1e-6)


def test_the_telemetry_writes_as_many_objects_as_can_be_asked_for() -> None:
    bags = inspect.signature(AssignmentHook).parameters["bags"].default
    assert WATCHED_OBJECT.limit.holds(bags - 1) and not WATCHED_OBJECT.limit.holds(bags)


def test_iou_by_hand() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]])
    assert iou(boxes, boxes[0]).tolist() == [1.0, 50 / 150, 0.0, 0.0]


def test_evenly_spaced_looks() -> None:
    assert evenly(9, 4) == [0, 3, 5, 8] and evenly(9, 3) == [0, 4, 8]
    assert evenly(9, 1) == [8] and evenly(2, 4) == [0, 1] and evenly(1, 3) == [0]
