import pytest
import torch

from suite.detectors.giou import StrideGIoULoss, stride_giou


def test_equal_boxes_have_giou_one_and_no_loss():
    distances = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert stride_giou(distances, distances).item() == pytest.approx(1.0)
    assert StrideGIoULoss(loss_weight=5.5)(distances, distances).item() == pytest.approx(0.0)


def test_one_stride_is_added_to_every_side():
    # Sides 2 x 2 in 4 x 2, each one longer: 9 / 15, and the hull is the larger box.
    inner, outer = torch.tensor([1.0, 1.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 3.0, 1.0])
    assert stride_giou(inner, outer).item() == pytest.approx(9 / 15)
    assert StrideGIoULoss(loss_weight=2.0)(inner, outer).item() == pytest.approx(2 * (1 - 9 / 15))


def test_a_point_outside_the_object_still_has_a_gradient():
    predicted = torch.zeros(4, requires_grad=True)
    StrideGIoULoss()(predicted, torch.tensor([-3.0, 1.0, 5.0, 1.0])).backward()
    assert predicted.grad.isfinite().all() and predicted.grad[2] < 0
