"""LTM's head against its equations, written out here in loops and in double precision."""

import math

import pytest
import torch
from detection_data import NUM_CLASSES, instances, maps, meta, random_instances, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from matching_reference import (
    SIZES,
    STRIDES,
    assert_same_losses_and_gradients,
    iou,
    matching_loss_in_loops,
    objects_of,
    released_negative,
)
from mmengine.structures import InstanceData

from suite.detectors.bags import anchor_bags
from suite.detectors.grid import grid_levels
from suite.detectors.ltm_head import LTMHead
from suite.errors import SuiteError
from suite.telemetry.assignments import assignments

STDS = (0.1, 0.1, 0.2, 0.2)


def make_head(**options) -> LTMHead:
    return LTMHead(
        num_classes=NUM_CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=1,
            scales_per_octave=2,
            ratios=[0.5, 2.0],
            strides=STRIDES,
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=list(STDS)),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1 / 9, loss_weight=0.5),
        **options,
    )


def predictions(generator, images, scale=1.0, box_scale=0.7):
    return (
        maps(generator, images, 4 * NUM_CLASSES, SIZES, scale=scale),
        maps(generator, images, 4 * 4, SIZES, scale=box_scale),
    )


def losses_of(head, outs, objects):
    return head.loss_by_feat(*outs, objects, [meta(48)] * len(objects))


def centre(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]


def encode(anchor, box):
    ax, ay, aw, ah = centre(anchor)
    bx, by, bw, bh = centre(box)
    deltas = ((bx - ax) / aw, (by - ay) / ah, torch.log(bw / aw), torch.log(bh / ah))
    return [delta / std for delta, std in zip(deltas, STDS, strict=True)]


def decode(anchor, deltas):
    ax, ay, aw, ah = centre(anchor)
    dx, dy, dw, dh = [delta * std for delta, std in zip(deltas, STDS, strict=True)]
    x, y, w, h = ax + aw * dx, ay + ah * dy, aw * torch.exp(dw), ah * torch.exp(dh)
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def smooth_l1(difference, beta):
    size = difference.abs()
    return torch.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)


def detached(phi):
    weights = [(p / (1 - p) ** 2).detach() for p in phi]
    return -torch.log(1 - sum(w * p for w, p in zip(weights, phi, strict=True)) / sum(weights))


def mean_max_squared(phi):
    weights = [1 / (1 - p) ** 2 for p in phi]
    return -torch.log(sum(w * (1 - p) for w, p in zip(weights, phi, strict=True)) / sum(weights))


def as_printed(phi):
    return -torch.log(sum(p / (1 - p) for p in phi) / sum(1 / (1 - p) ** 2 for p in phi))


NEGATIVE = {
    "eq25": released_negative,
    "none": None,
    "meanmax2": mean_max_squared,
    "one_minus_meanmax": lambda phi: -torch.log(len(phi) / sum(1 / (1 - p) for p in phi)),
    "max": lambda phi: -torch.log(1 - torch.stack(phi).max()),
    "noisy_or": lambda phi: -sum(torch.log(1 - p) for p in phi),
    "eq25_detached": detached,
    "eq11_literal": as_printed,
}


@pytest.mark.filterwarnings("ignore:negative_matching='eq11_literal'")
@pytest.mark.parametrize("neg_iou", ["relative", "absolute"])
@pytest.mark.parametrize("negative_matching", NEGATIVE)
def test_losses_and_gradients_are_those_of_the_equations(neg_iou, negative_matching):
    generator, objects = objects_of(1)
    outs = predictions(generator, 3, scale=2.0)
    head = make_head(bag_size=7, negative_matching=negative_matching, neg_iou=neg_iou)
    found = losses_of(head, outs, objects)
    logits, deltas = rows(outs[0], NUM_CLASSES), rows(outs[1], 4)
    sizes = tuple((size, size) for size in SIZES)
    anchors = torch.cat(head.prior_generator.grid_priors(sizes, device="cpu")).double()
    levels = grid_levels(head.prior_generator, sizes, "cpu")

    def bag_of(box):
        return anchor_bags(levels, box[None].float(), 7)[0].tolist()

    def localisation_of(image, member, box):
        target = encode(anchors[member], box)
        return 0.5 * sum(smooth_l1(deltas[image, member, k] - target[k], 1 / 9) for k in range(4))

    def iou_of(image, member, box):
        return iou(decode(anchors[member], deltas[image, member]), box)

    expected = matching_loss_in_loops(
        logits, objects, bag_of, localisation_of, iou_of,
        relative=neg_iou == "relative", negative=NEGATIVE[negative_matching],
    )  # fmt: skip
    assert_same_losses_and_gradients(found, expected, [*outs[0], *outs[1]])


def test_only_the_positive_term_trains_boxes():
    generator, objects = objects_of(2)
    outs = predictions(generator, 3)
    losses = losses_of(make_head(bag_size=7), outs, objects)
    for name in ("loss_negative", "loss_focal"):
        gradients = torch.autograd.grad(losses[name], outs[1], retain_graph=True, allow_unused=True)
        assert all(gradient is None or not gradient.any() for gradient in gradients), name
    assert any(gradient.any() for gradient in torch.autograd.grad(losses["loss_positive"], outs[1]))


OBJECTS = {
    "no object": [instances([], []), instances([], [])],
    "one image without": [instances([[4, 4, 20, 20]], [0]), instances([], [])],
    "equal boxes": [
        instances([[4, 4, 20, 20]] * 3, [0, 0, 2]),
        instances([[0, 0, 48, 48], [5, 5, 6, 6]], [1, 1]),
    ],
    "outside the image": [
        instances([[-80, -80, -60, -50], [200, 10, 230, 40]], [0, 1]),
        instances([[40, 40, 90, 90]], [2]),
    ],
    "without area": [instances([[7, 7, 7, 7], [3, 9, 30, 9]], [0, 1]), instances([], [])],
    "500 objects": [
        random_instances(torch.Generator().manual_seed(8), 48, 500, NUM_CLASSES),
        instances([], []),
    ],
}


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("bag_size", [1, 40, 1000])
@pytest.mark.parametrize("logit", ["zero", "random", "+50", "-50"])
@pytest.mark.parametrize("objects", OBJECTS.values(), ids=OBJECTS)
def test_degenerate_input_gives_finite_losses_and_gradients(objects, logit, bag_size, autocast):
    generator = torch.Generator().manual_seed(3)
    outs = predictions(generator, 2)
    if logit != "random":
        value = 0.0 if logit == "zero" else float(logit)
        outs[0][:] = [torch.full_like(level, value).requires_grad_() for level in outs[0]]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        losses = losses_of(make_head(bag_size=bag_size), outs, objects)
    assert all(value.dtype == torch.float32 and math.isfinite(value.item()) for value in losses.values())
    gradients = torch.autograd.grad(sum(losses.values()), [*outs[0], *outs[1]])
    assert all(gradient.isfinite().all() for gradient in gradients)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 10**6))
def test_the_order_of_objects_and_images_does_not_matter(random, seed):
    generator = torch.Generator().manual_seed(seed)
    objects = [random_instances(generator, 48, count, NUM_CLASSES) for count in (4, 2)]
    outs = predictions(generator, 2)
    found = losses_of(make_head(bag_size=7), outs, objects)
    shuffled = []
    for one in objects:
        order = torch.tensor(random.sample(range(len(one)), len(one)))
        shuffled.append(InstanceData(bboxes=one.bboxes[order], labels=one.labels[order]))
    flipped = [[level.flip(0) for level in levels] for levels in outs]
    again = losses_of(make_head(bag_size=7), flipped, shuffled[::-1])
    for name, value in found.items():
        torch.testing.assert_close(again[name], value, rtol=1e-5, atol=1e-7)


def test_an_image_without_objects_and_without_scores_changes_nothing():
    generator = torch.Generator().manual_seed(6)
    objects = [random_instances(generator, 48, 4, NUM_CLASSES)]
    outs = predictions(generator, 1)
    empty = [torch.cat([level, torch.full_like(level, -1e4)]) for level in outs[0]]
    boxes = [torch.cat([level, level]) for level in outs[1]]
    found = losses_of(make_head(bag_size=7), outs, objects)
    again = losses_of(make_head(bag_size=7), (empty, boxes), [*objects, instances([], [])])
    for name, value in found.items():
        torch.testing.assert_close(again[name], value)


def test_half_precision_maps_are_computed_in_float32():
    generator, objects = objects_of(4)
    outs = predictions(generator, 3)
    half = losses_of(make_head(bag_size=7), [[x.bfloat16() for x in levels] for levels in outs], objects)
    full = losses_of(make_head(bag_size=7), outs, objects)
    for name, value in half.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(full[name].item(), rel=0.05)


def test_a_sample_of_the_bag_is_drawn_anew_in_each_step():
    generator, objects = objects_of(5)
    outs = predictions(generator, 3)
    head = make_head(bag_size=20, sample_size=5)
    torch.manual_seed(0)
    first, second = (losses_of(head, outs, objects)["loss_positive"].item() for _ in range(2))
    torch.manual_seed(0)
    assert losses_of(head, outs, objects)["loss_positive"].item() == first != second
    whole = make_head(bag_size=5, sample_size=5)
    for name, value in losses_of(make_head(bag_size=5), outs, objects).items():
        torch.testing.assert_close(losses_of(whole, outs, objects)[name], value)
    assert head.match(*outs, objects).bags.members.shape == (6, 5)


def test_assignments_are_the_confidences_of_the_bags():
    generator, objects = objects_of(7)
    outs = predictions(generator, 3)
    head = make_head(bag_size=7)
    found = assignments(head, tuple(outs), objects, [meta(48)] * 3)
    assert [len(one.members) for one in found] == [3, 0, 3]
    logits = rows(outs[0], NUM_CLASSES)
    matched = head.match(*outs, objects)
    localisation = matched.localisation.split([len(one) for one in objects])
    for image, one in enumerate(found):
        for row, label in enumerate(objects[image].labels.tolist()):
            for column, member in enumerate(one.members[row].tolist()):
                phi = torch.sigmoid(logits[image, member, label]) * torch.exp(
                    -localisation[image][row, column]
                )
                assert one.confidence[row, column].item() == pytest.approx(phi.item(), rel=1e-4)
        assert one.valid.all()
        assert (one.positive == (one.confidence >= one.confidence.amax(1, keepdim=True) / 2)).all()


def test_the_misprinted_equation_warns():
    with pytest.warns(UserWarning, match="eq11_literal.*misprint"):
        make_head(negative_matching="eq11_literal")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(negative_matching="eq52"), "negative_matching: expected one of eq25, none, .* found 'eq52'"),
        (dict(bag_size=0), r"bag_size: expected a whole number of at least 1, found 0"),
        (dict(bag_size=7.5), r"bag_size: expected a whole number of at least 1, found 7.5"),
        (dict(neg_iou="Relative"), "neg_iou: expected one of relative, absolute.*'relative'"),
        (dict(sample_size=50, bag_size=40), "sample_size: expected at most bag_size, .*40.* found 50"),
        (dict(sample_size=0), "sample_size"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(SuiteError, match=message):
        make_head(**options)
