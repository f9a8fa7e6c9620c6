"""Coverage against a brute-force reading of its definition."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from suite.inference import coverage as module
from suite.inference.coverage import Coverage, coverage, deployed_candidates
from suite.inference.score_voting import vote

NOTHING = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))


def candidates(boxes, scores, labels, levels=None) -> InstanceData:
    scores, labels = torch.as_tensor(scores), torch.as_tensor(labels)
    return InstanceData(
        bboxes=torch.as_tensor(boxes), scores=scores, labels=labels, class_scores=scores,
        levels=torch.zeros_like(labels) if levels is None else torch.as_tensor(levels),
    )  # fmt: skip


def by_the_papers(found: InstanceData, objects: torch.Tensor) -> Coverage:
    return coverage(found, NOTHING, objects, torch.zeros(len(objects), dtype=torch.long), {})


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    w = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    h = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return w * h / (sum(area) - w * h)


def _brute_force(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, objects: np.ndarray
) -> np.ndarray:
    """Columns before and after of each object, in double precision, one pair at a time."""
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        rivals = [other for other in kept if labels[other] == labels[index]]
        if all(_iou(boxes[index], boxes[other]) <= 0.5 for other in rivals):
            kept.append(int(index))
    best = [[max((_iou(thing, boxes[i]) for i in group), default=0.0) for group in (range(len(boxes)), kept)]
            for thing in objects]  # fmt: skip
    return np.array(best).reshape(-1, 2)


def _boxes(rng: np.random.Generator, number: int) -> np.ndarray:
    corner, size = rng.uniform(0, 60, (number, 2)), rng.uniform(8, 40, (number, 2))
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


@pytest.mark.parametrize("number", [0, 1, 40, 300])
@pytest.mark.parametrize("chunk", [5, 4_000_000])
def test_agrees_with_brute_force(number: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAIRS_AT_A_TIME", chunk)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        boxes, objects = _boxes(rng, number), _boxes(rng, 6)
        scores = (0.06 + rng.permutation(number) / max(number, 1)).astype(np.float32)
        labels = rng.integers(0, 4, number)
        found = by_the_papers(candidates(boxes, scores, labels), torch.tensor(objects))
        expected = _brute_force(boxes, scores, labels, objects)
        np.testing.assert_allclose(torch.stack(found[:2], dim=1).numpy(), expected, atol=1e-5)


def test_nms_is_by_class_and_coverage_is_not() -> None:
    """A worse-placed box of the same class removes the good one; a box of another class covers as well."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8]])
    scores = torch.tensor([0.3, 0.9])
    thing = torch.tensor([[0.0, 0, 10, 10]])
    same = by_the_papers(candidates(boxes, scores, [1, 1]), thing)
    other = by_the_papers(candidates(boxes, scores, [1, 0]), thing)
    assert (same.before.item(), same.after.item()) == (1.0, pytest.approx(0.8))
    assert (other.before.item(), other.after.item()) == (1.0, 1.0)


def test_a_voted_box_may_cover_what_no_candidate_did() -> None:
    """Recall after may exceed recall before as deployed for this reason alone: voting moves boxes."""
    thing, label = torch.tensor([[0.0, 2, 10, 12]]), torch.tensor([0])
    found = candidates(torch.tensor([[0.0, 1, 10, 11], [0.0, 3, 10, 13]]), [0.9, 0.9], [0, 0])
    voted = vote(found.bboxes[:1], found.labels[:1], found.bboxes, found.labels, found.scores)
    moved = InstanceData(bboxes=voted, labels=label)
    covered = coverage(found, moved, thing, label, {})
    assert covered.after_deployed.item() > covered.before_deployed.item()
    plain = coverage(found, found[:1], thing, label, {})
    assert plain.after_deployed.item() <= plain.before_deployed.item()
    assert plain.after.item() <= plain.before.item()


def test_no_limit_on_the_number_of_boxes() -> None:
    """The one good box ranks below 2000 others, beyond any usual top-1000 or 100 an image."""
    far = torch.arange(2000.0)[:, None] * 20 + 1000
    boxes = torch.cat([torch.cat([far, far, far + 10, far + 10], dim=1), torch.tensor([[0.0, 0, 10, 10]])])
    scores = torch.linspace(0.9, 0.1, 2001)
    found = by_the_papers(
        candidates(boxes, scores, torch.zeros(2001, dtype=torch.long)), torch.tensor([[0.0, 0, 10, 10]])
    )
    assert found.after.item() == 1.0


def test_an_image_without_objects() -> None:
    found = by_the_papers(candidates(torch.ones(1, 4), [1.0], [0]), torch.zeros(0, 4))
    assert [len(part) for part in found] == [0, 0, 0, 0]


def test_scores_below_the_papers_threshold_count_only_as_deployed() -> None:
    thing, label = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([1])
    found = candidates(thing, [0.03], [1])
    covered = coverage(found, found, thing, label, {"score_thr": 0.01})
    assert [part.item() for part in covered] == [0.0, 0.0, 1.0, 1.0]
    covered = coverage(found, found, thing, label, {"score_thr": 0.05})
    assert [part.item() for part in covered] == [0.0, 0.0, 0.0, 1.0]


def test_as_deployed_only_boxes_of_the_objects_class_cover_it() -> None:
    things = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8]])
    found = candidates(things, [0.9, 0.8], [3, 3])
    covered = coverage(found, found[:1], things, torch.tensor([3, 4]), {})
    assert covered.before.tolist() == [1.0, 1.0]
    assert covered.before_deployed.tolist() == [1.0, 0.0]
    assert covered.after_deployed.tolist() == [1.0, 0.0]


def test_what_a_detector_hands_to_its_nms() -> None:
    rng = np.random.default_rng(0)
    scores, levels = rng.permutation(60) / 60, rng.integers(0, 4, 60)
    found = candidates(torch.rand(60, 4), scores, rng.integers(0, 5, 60), levels)
    handed = deployed_candidates(found, 0.2, 5)
    expected = set()
    for level in range(4):
        here = [index for index in np.argsort(-scores) if levels[index] == level and scores[index] > 0.2]
        expected |= {round(float(scores[index]), 6) for index in here[:5]}
    assert {round(score, 6) for score in found.scores[handed].tolist()} == expected
    assert deployed_candidates(found, 0.2, -1).sum() == (scores > 0.2).sum()
    assert deployed_candidates(found, 0.2, 1000).sum() == (scores > 0.2).sum()
