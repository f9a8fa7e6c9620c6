"""Sums over assignments, against plain loops."""

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.telemetry.assignments import Assignment
from suite.telemetry.summary import matching_entropy, slenderness, summary

CONFIDENCE = st.floats(0, 1, width=32)


def bags(values: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Bags of different sizes, padded with values that must not count."""
    width = max(map(len, values), default=0)
    confidence = torch.tensor([bag + [0.7] * (width - len(bag)) for bag in values]).reshape(-1, width)
    valid = torch.tensor([[True] * len(bag) + [False] * (width - len(bag)) for bag in values])
    return confidence, valid.reshape(-1, width)


def by_loops(bag: list[float]) -> float:
    odds = [x / (1 - x) for x in bag]
    shares = [value / sum(odds) for value in odds]
    return -sum(share * math.log(share) for share in shares if share) / math.log(len(bag))


def test_entropy_by_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    values = [torch.rand(size, generator=generator).tolist() for size in (2, 5, 9, 40)]
    assert matching_entropy(*bags(values)).tolist() == pytest.approx([by_loops(bag) for bag in values])


@pytest.mark.parametrize(
    ("bag", "entropy"),
    [
        ([0.2] * 7, 1), ([0.0] * 3, 1), ([1.0] * 3, 1), ([1e-9] * 4, 1), ([0.3, 0.3], 1),
        ([1.0, 0.1, 0.2], 0), ([1 - 1e-7, 0.3, 0.3, 0.3], 0), ([1e-3, 0.0, 0.0], 0), ([1e-20, 1e-30], 0),
        ([0.4], 0), ([1.0], 0), ([], 0),
    ],
)  # fmt: skip
def test_entropy_at_its_limits(bag: list[float], entropy: float) -> None:
    # A second bag gives the first its padding.
    assert float(matching_entropy(*bags([bag, [0.5] * 8]))[0]) == pytest.approx(entropy, abs=1e-4)


def test_entropy_of_no_objects() -> None:
    assert matching_entropy(torch.zeros(0, 0), torch.zeros(0, 0, dtype=torch.bool)).shape == (0,)


@settings(max_examples=100, deadline=None)
@given(st.lists(CONFIDENCE, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_entropy_is_within_its_range_and_has_no_order(bag: list[float], random) -> None:
    shuffled = random.sample(bag, len(bag))
    one, two = matching_entropy(*bags([bag, shuffled])).tolist()
    assert 0 <= one <= 1
    assert one == pytest.approx(two, abs=1e-9)


def image(rows: list[list[tuple[int, float, bool]]]) -> Assignment:
    """From lists of (anchor, confidence, positive), one an object."""
    width = max(map(len, rows), default=0)
    padding = [(0, 0.0, False)]
    full = [row + padding * (width - len(row)) for row in rows]

    def column(index: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([[member[index] for member in row] for row in full], dtype=dtype).reshape(
            len(rows), width
        )

    valid = torch.tensor([[i < len(row) for i in range(width)] for row in rows], dtype=torch.bool)
    return Assignment(
        column(0, torch.long), column(1, torch.float32), column(2, torch.bool),
        valid.reshape(len(rows), width), column(1, torch.float32),
    )  # fmt: skip


def test_groups_and_their_limits() -> None:
    def positives(count: int) -> list[tuple[int, float, bool]]:
        return [(10 * count + index, 0.5, True) for index in range(count)] + [(0, 0.1, False)]

    found = summary(
        [image([positives(1), positives(2), positives(3)]), image([positives(4), positives(6)]), image([])],
        [
            torch.tensor([[0, 0, 31, 32], [0, 0, 32, 32], [10, 10, 34, 60]], dtype=torch.float32),
            torch.tensor([[0, 0, 96, 96], [0, 0, 30, 90]], dtype=torch.float32),
            torch.zeros(0, 4),
        ],
    )
    assert found["positives"] == {
        "all": 3.2, "min": 1, "median": 3, "max": 6,
        "small": 1, "medium": statistics.fmean([2, 3, 6]), "large": 4,
        "1-1.5": statistics.fmean([1, 2, 4]), "1.5-3": 3, "3+": 6,
    }  # fmt: skip
    assert found["entropy"] > 0


def test_groups_without_objects_are_none() -> None:
    found = summary([image([[(3, 1.0, True)]])], [torch.tensor([[0.0, 0.0, 10.0, 10.0]])])
    assert found["positives"]["medium"] is None and found["positives"]["3+"] is None
    assert found["positives"]["small"] == 1 and found["entropy"] == 0 and found["ambiguous"] == 0


def test_no_object_and_no_positive() -> None:
    found = summary([image([])], [torch.zeros(0, 4)])
    assert set(found["positives"].values()) == {None}
    assert found["entropy"] is None and found["ambiguous"] is None
    found = summary([image([[(3, 0.4, False)]])], [torch.tensor([[0.0, 0.0, 10.0, 10.0]])])
    assert found["positives"]["all"] == 0 and found["ambiguous"] is None


def test_ambiguous_anchors_are_counted_by_image_and_pooled() -> None:
    first = image([[(5, 0.9, True), (6, 0.8, True)], [(5, 0.7, True), (7, 0.1, False)]])
    # The same anchor index in another image is another anchor; 7 is positive for one object only.
    second = image([[(5, 0.9, True), (7, 0.9, True)], [(7, 0.1, False), (8, 0.9, True)]])
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]] * 2)
    assert summary([first, second], [boxes, boxes])["ambiguous"] == 1 / 5


def test_slenderness() -> None:
    assert slenderness(10, 40) == slenderness(40, 10) == 4
    assert slenderness(10, 10) == 1
    assert slenderness(0, 10) == math.inf
