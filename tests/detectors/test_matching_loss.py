import torch

from suite.detectors import matching_loss
from suite.detectors.bags import Bags
from suite.detectors.matching_loss import distinct_pairs, matching_losses, shared_iou
from suite.detectors.score_layout import ScoreLayout


def share(iou, pairs, relative, valid=None):
    number = torch.unique(pairs, return_inverse=True)[1]
    valid = torch.ones_like(pairs, dtype=torch.bool) if valid is None else valid
    return shared_iou(iou, number, valid, relative)


def test_members_shared_by_objects_of_one_class_take_the_higher_iou():
    # Two objects of class 0, one of class 1; pairs are anchor x 2 + class.
    anchors, labels = torch.tensor([[3, 5], [5, 7], [3, 7]]), torch.tensor([0, 0, 1])
    iou = torch.tensor([[0.4, 0.2], [0.3, 0.6], [0.1, 0.2]])
    absolute = share(iou, anchors * 2 + labels[:, None], relative=False)
    torch.testing.assert_close(absolute, torch.tensor([[0.4, 0.3], [0.3, 0.6], [0.1, 0.2]]))
    relative = share(iou, anchors * 2 + labels[:, None], relative=True)
    torch.testing.assert_close(relative, torch.tensor([[1.0, 0.5], [0.5, 1.0], [0.5, 1.0]]))


def test_boxes_that_all_miss_are_wholly_false():
    assert share(torch.zeros(1, 3), torch.tensor([[0, 1, 2]]), relative=True).tolist() == [[0.0, 0.0, 0.0]]


def test_what_pads_a_bag_has_no_part_in_it():
    iou, pairs = torch.tensor([[0.2, 0.4, 0.9]]), torch.tensor([[0, 1, 0]])
    valid = torch.tensor([[True, True, False]])
    relative = share(iou, pairs, relative=True, valid=valid)
    torch.testing.assert_close(relative[:, :2], torch.tensor([[0.5, 1.0]]))


def test_without_waiting_for_their_count_the_distinct_pairs_are_the_same(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    for count in (0, 1, 60):
        pairs = torch.randint(-1, 20, (count // 10, 10), generator=generator)
        distinct, number = distinct_pairs(pairs)
        monkeypatch.setattr(matching_loss, "asynchronous", lambda tensor: True)
        padded, place = distinct_pairs(pairs)
        monkeypatch.undo()
        assert torch.equal(padded[place], pairs) and torch.equal(distinct[number], pairs)
        assert torch.equal(padded[: len(distinct)], distinct) and len(padded) == pairs.numel()
        assert (padded[len(distinct) :] == -1).all()


def test_the_loss_is_the_same_either_way(monkeypatch):
    """With bags that share pairs and one that is not full: values and gradients."""
    generator = torch.Generator().manual_seed(0)
    scores = [torch.randn(2, 6, 4, 4, generator=generator)]
    members = torch.randint(0, 32, (5, 8), generator=generator)
    bags = Bags(
        torch.tensor([0, 0, 0, 1, 1]),
        torch.rand(5, 4),
        torch.tensor([0, 0, 2, 1, 1]),
        members,
        torch.rand(5, 8, generator=generator) > 0.2,
    )
    localisation, iou = (torch.rand(5, 8, generator=generator) for _ in range(2))
    found = []
    for waits in (False, True):
        monkeypatch.setattr(matching_loss, "asynchronous", lambda tensor, waits=waits: not waits)
        maps = [level.clone().requires_grad_() for level in scores]
        losses = matching_losses(
            maps, ScoreLayout.of(maps, 3), bags, localisation, iou,
            gamma=2.0, negative_matching="eq25", relative_iou=True,
        )  # fmt: skip
        sum(losses.values()).backward()
        found.append((losses, maps[0].grad))
    for name, value in found[0][0].items():
        torch.testing.assert_close(found[1][0][name], value)
    torch.testing.assert_close(found[1][1], found[0][1])
