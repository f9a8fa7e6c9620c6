import pytest
import torch
from detection_data import instances, random_instances
from mmengine.structures import InstanceData

from suite.detectors import topk_assigner
from suite.detectors.topk_assigner import TopKIoUAssigner, top_anchors
from suite.errors import SuiteError


def anchors(*boxes):
    return InstanceData(priors=torch.tensor(boxes, dtype=torch.float32))


GRID = anchors([0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10], [6, 0, 16, 10], [40, 40, 50, 50])


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def test_the_k_best_anchors_are_positive_and_nothing_is_ignored():
    result = TopKIoUAssigner(topk=2).assign(GRID, instances([[0, 0, 10, 10], [39, 39, 52, 52]], [3, 1]))
    # The second object's second best anchor overlaps it not at all; a bag has no threshold.
    assert result.gt_inds[[0, 1, 4]].tolist() == [1, 1, 2]
    assert (result.gt_inds >= 0).all() and int((result.gt_inds > 0).sum()) in (3, 4)
    assert result.labels[[0, 1, 4]].tolist() == [3, 3, 1]


def test_an_anchor_of_two_bags_goes_to_the_object_of_higher_iou():
    result = TopKIoUAssigner(topk=3).assign(GRID, instances([[0, 0, 10, 10], [6, 0, 16, 10]], [0, 1]))
    assert result.gt_inds.tolist() == [1, 1, 2, 2, 0]


def test_of_objects_with_the_same_box_the_first_takes_the_anchors():
    result = TopKIoUAssigner(topk=2).assign(GRID, instances([[0, 0, 10, 10]] * 3, [2, 1, 0]))
    assert result.gt_inds.tolist() == [1, 1, 0, 0, 0]
    assert result.labels.tolist() == [2, 2, -1, -1, -1]


def test_no_object_and_fewer_anchors_than_k():
    assert TopKIoUAssigner(topk=2).assign(GRID, instances([], [])).gt_inds.tolist() == [0] * 5
    assert TopKIoUAssigner(topk=40).assign(GRID, instances([[0, 0, 10, 10]], [2])).gt_inds.tolist() == [1] * 5


def test_assignment_against_loops():
    generator = torch.Generator().manual_seed(0)
    priors = random_instances(generator, 60, 80, 1).bboxes
    objects = random_instances(generator, 60, 6, 4)
    result = TopKIoUAssigner(topk=9).assign(InstanceData(priors=priors), objects)
    table = [[iou(a, b) for a in priors.tolist()] for b in objects.bboxes.tolist()]
    bags = [set(sorted(range(80), key=lambda index, row=row: -row[index])[:9]) for row in table]
    shared = 0
    for anchor, index in enumerate(result.gt_inds.tolist()):
        owners = [gt for gt in range(6) if anchor in bags[gt]]
        expected = max(owners, key=lambda gt: table[gt][anchor]) + 1 if owners else 0
        assert index == expected
        assert result.labels[anchor] == (objects.labels[index - 1] if index else -1)
        if index:
            assert result.max_overlaps[anchor].item() == pytest.approx(table[index - 1][anchor], rel=1e-5)
        shared += len(owners) > 1
    assert shared > 0


@pytest.mark.parametrize("pairs_at_once", [None, 1, 100])
def test_top_anchors_against_loops(monkeypatch, pairs_at_once):
    if pairs_at_once is not None:
        monkeypatch.setattr(topk_assigner, "_PAIRS_AT_ONCE", pairs_at_once)  # one object, or two, at once
    generator = torch.Generator().manual_seed(1)
    priors = random_instances(generator, 60, 50, 1).bboxes
    objects = random_instances(generator, 60, 7, 4).bboxes
    found = top_anchors(priors, objects, 6)
    assert found.shape == (7, 6)
    for members, box in zip(found.tolist(), objects.tolist(), strict=True):
        every = [iou(prior, box) for prior in priors.tolist()]
        assert len(set(members)) == 6
        assert sorted(every[member] for member in members) == pytest.approx(sorted(every)[-6:])


def test_top_anchors_of_few_anchors_and_of_no_object():
    priors = GRID.priors
    assert sorted(top_anchors(priors, priors[:1], 40)[0].tolist()) == [0, 1, 2, 3, 4]
    assert top_anchors(priors, torch.zeros(0, 4), 3).shape == (0, 3)
    assert top_anchors(priors[:0], priors, 3).shape == (5, 0)
    result = TopKIoUAssigner(topk=3).assign(GRID[:0], instances([[0, 0, 1, 1]], [0]))
    assert result.num_gts == 1 and result.gt_inds.shape == (0,)


@pytest.mark.parametrize("topk", [0, -3, 2.5, True, None, "40"])
def test_topk_out_of_range_is_named(topk):
    with pytest.raises(SuiteError) as failure:
        TopKIoUAssigner(topk=topk)
    message = str(failure.value)
    assert message.startswith("model.train_cfg.assigner.topk: expected a whole number of at least 1")
    assert repr(topk) in message
