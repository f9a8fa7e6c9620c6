import pytest
import torch
from mmdet.models.losses import FocalLoss

from suite.detectors.matching_loss import negative_focal_loss, shared_iou


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_focal_loss_of_background_is_mmdets_with_alpha_zero(gamma):
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 5
    background = torch.full((50,), 4)
    expected = FocalLoss(gamma=gamma, alpha=0.0, reduction="sum")(logits, background)
    assert negative_focal_loss(logits, gamma).item() == pytest.approx(expected.item(), rel=1e-5)


def test_members_shared_by_objects_of_one_class_take_the_higher_iou():
    # Two objects of class 0, one of class 1; pairs are anchor x 2 + class.
    anchors, labels = torch.tensor([[3, 5], [5, 7], [3, 7]]), torch.tensor([0, 0, 1])
    iou = torch.tensor([[0.4, 0.2], [0.3, 0.6], [0.1, 0.2]])
    absolute, unique = shared_iou(iou, anchors * 2 + labels[:, None], relative=False)
    torch.testing.assert_close(absolute, torch.tensor([[0.4, 0.3], [0.3, 0.6], [0.1, 0.2]]))
    assert unique.tolist() == [6, 7, 10, 14, 15]
    relative, _ = shared_iou(iou, anchors * 2 + labels[:, None], relative=True)
    torch.testing.assert_close(relative, torch.tensor([[1.0, 0.5], [0.5, 1.0], [0.5, 1.0]]))


def test_boxes_that_all_miss_are_wholly_false():
    relative, _ = shared_iou(torch.zeros(1, 3), torch.tensor([[0, 1, 2]]), relative=True)
    assert relative.tolist() == [[0.0, 0.0, 0.0]]
