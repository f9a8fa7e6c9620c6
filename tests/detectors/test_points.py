import torch

from suite.detectors.points import StrideDistanceBBoxCoder, StridePointGenerator


def test_points_lie_at_the_centre_of_their_cell_and_know_their_stride():
    small, large = StridePointGenerator([8, 32]).grid_priors([(1, 2), (1, 1)])
    assert small.tolist() == [[4, 4, 8, 8], [12, 4, 8, 8]]
    assert large.tolist() == [[16, 16, 32, 32]]


def test_decode_inverts_encode_and_clips():
    coder = StrideDistanceBBoxCoder()
    points = torch.tensor([[12.0, 20.0, 8.0, 8.0], [48.0, 16.0, 32.0, 32.0]])
    boxes = torch.tensor([[2.0, 3.0, 30.0, 40.0], [50.0, -10.0, 90.0, 70.0]])
    distances = coder.encode(points, boxes)
    assert distances[0].tolist() == [10 / 8, 17 / 8, 18 / 8, 20 / 8]
    torch.testing.assert_close(coder.decode(points, distances), boxes)
    assert coder.decode(points, distances, max_shape=(60, 80))[1].tolist() == [50, 0, 80, 60]
