import math

import pytest
import torch
from mmdet.models.dense_heads import PAAHead

from suite.inference.score_voting import vote


def random_boxes(generator, count):
    corner = torch.rand(count, 2, generator=generator) * 60
    return torch.cat([corner, corner + 5 + torch.rand(count, 2, generator=generator) * 40], dim=1)


def iou(a, b):
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


@pytest.mark.parametrize("seed", range(3))
def test_votes_are_those_of_the_released_loop(seed):
    generator = torch.Generator().manual_seed(seed)
    candidates, scores = random_boxes(generator, 60), torch.rand(60, generator=generator)
    labels = torch.randint(0, 3, (60,), generator=generator)
    kept = torch.randperm(60, generator=generator)[:12]
    found = vote(candidates[kept], labels[kept], candidates, labels, scores)
    for box, label, voted in zip(
        candidates[kept].tolist(), labels[kept].tolist(), found.tolist(), strict=True
    ):
        total, mean = 0.0, [0.0] * 4
        for other, score, its in zip(candidates.tolist(), scores.tolist(), labels.tolist(), strict=True):
            overlap = iou(box, other)
            if its == label and overlap > 0.01:
                weight = math.exp(-((1 - overlap) ** 2) / 0.025) * score
                total += weight
                mean = [m + weight * side for m, side in zip(mean, other, strict=True)]
        assert voted == pytest.approx([m / total for m in mean], rel=1e-4)


def test_same_as_mmdet():
    generator = torch.Generator().manual_seed(5)
    candidates, scores = random_boxes(generator, 80), torch.rand(80, generator=generator)
    labels = torch.randint(0, 2, (80,), generator=generator)
    kept = torch.randperm(80, generator=generator)[:20]
    table = torch.zeros(80, 2)
    table[torch.arange(80), labels] = scores
    head = PAAHead.__new__(PAAHead)
    torch.nn.Module.__init__(head)
    head.num_classes = head.cls_out_channels = 2
    dets = torch.cat([candidates[kept], scores[kept, None]], dim=1)
    theirs, their_labels = head.score_voting(dets, labels[kept], candidates, table, 0.0)
    found = vote(candidates[kept], labels[kept], candidates, labels, scores)
    ours = {(label, round(score, 5)): box for label, score, box in
            zip(labels[kept].tolist(), scores[kept].tolist(), found, strict=True)}  # fmt: skip
    assert len(theirs) == 20
    for row, label in zip(theirs, their_labels.tolist(), strict=True):
        torch.testing.assert_close(ours[label, round(row[4].item(), 5)], row[:4], rtol=1e-4, atol=1e-3)


def test_a_detection_alone_keeps_its_box():
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    labels = torch.tensor([0, 1])
    found = vote(boxes, labels, boxes[:1], labels[:1], torch.tensor([0.7]))
    torch.testing.assert_close(found, boxes)


def test_no_detection():
    none = torch.zeros(0, 4)
    assert vote(none, torch.zeros(0).long(), none, torch.zeros(0).long(), torch.zeros(0)).shape == (0, 4)
