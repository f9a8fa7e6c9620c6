import torch

from suite.detectors.matching_loss import shared_iou


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
