"""FreeAnchor's head against mmdet's, and against its equations in loops and in double precision."""

import itertools
import math

import pytest
import torch
from detection_data import NUM_CLASSES, instances, maps, meta, rows, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.dense_heads import FreeAnchorRetinaHead
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

from suite.detectors.free_anchor_head import FreeAnchorHead, saturated_linear
from suite.errors import SuiteError

SIZES = [6, 3]
PER_LOCATION = 4
SIDE = 48  # pixels of an image
STDS = (0.1, 0.1, 0.2, 0.2)
ANCHORS = dict(
    type="AnchorGenerator", octave_base_scale=1.5, scales_per_octave=2, ratios=[0.5, 2.0], strides=[8, 16]
)


def common_options(beta=0.11, weight=0.75, anchors=ANCHORS):
    return dict(
        num_classes=NUM_CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=anchors,
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=list(STDS)),
        loss_bbox=dict(type="SmoothL1Loss", beta=beta, loss_weight=weight),
    )


def make_head(bag_size=7, iou_threshold=0.6, gamma=2.0, alpha=0.5, **options) -> FreeAnchorHead:
    focal = dict(type="FocalLoss", use_sigmoid=True, gamma=gamma, alpha=alpha)
    return FreeAnchorHead(
        **common_options(**options), loss_cls=focal, bag_size=bag_size, iou_threshold=iou_threshold
    )


def make_mmdet_head(bag_size=7, iou_threshold=0.6, gamma=2.0, alpha=0.5, **options) -> FreeAnchorRetinaHead:
    return FreeAnchorRetinaHead(
        **common_options(**options),
        pre_anchor_topk=bag_size, bbox_thr=iou_threshold, gamma=gamma, alpha=alpha,
    )  # fmt: skip


def anchors_of(head) -> Tensor:
    return torch.cat(head.prior_generator.grid_priors([(size, size) for size in SIZES], device="cpu"))


def bag_is_clear(anchors: Tensor, box: Tensor, bag_size: int) -> bool:
    """Whether the last of the bag is better than the first outside: on a grid, equally good ones may tie."""
    best = bbox_overlaps(box[None], anchors)[0].sort(descending=True).values
    return bag_size >= len(anchors) or bool(best[bag_size - 1] - best[bag_size] > 1e-4)


def random_objects(generator, anchors, count, bag_size, classes=NUM_CLASSES):
    boxes: list[Tensor] = []
    while len(boxes) < count:
        sides = torch.rand(2, generator=generator) * 20 + 8
        corner = torch.rand(2, generator=generator) * (SIDE - sides)
        box = torch.cat([corner, corner + sides])
        if bag_is_clear(anchors, box, bag_size):
            boxes.append(box)
    labels = torch.randint(classes, (count,), generator=generator)
    return instances([box.tolist() for box in boxes], labels.tolist())


def to_maps(values: Tensor) -> list[Tensor]:
    """(images, A, channels) as leaves a level, in the order that ``rows`` undoes."""
    levels = values.split([size * size * PER_LOCATION for size in SIZES], dim=1)
    return [
        part.reshape(len(values), size, size, -1).permute(0, 3, 1, 2).contiguous().requires_grad_()
        for part, size in zip(levels, SIZES, strict=True)
    ]


def localising_deltas(generator, head, anchors, batch, noise=0.6):
    """Encoded boxes that lie near an object of the image, the best one of each anchor."""
    found = []
    for targets in batch:
        deltas = torch.randn(len(anchors), 4, generator=generator) * noise
        if len(targets):
            best = targets.bboxes[bbox_overlaps(anchors, targets.bboxes).argmax(dim=1)]
            deltas = deltas + head.bbox_coder.encode(anchors, best)
        found.append(deltas)
    return torch.stack(found)


def random_batch(seed, bag_size=7, scale=1.5):
    """Maps, encoded boxes and objects of three images: some of one class side by side, none, a few."""
    generator = torch.Generator().manual_seed(seed)
    head = make_head()
    anchors = anchors_of(head)
    beside = instances(
        [[10.3, 10.9, 30.1, 34.2], [13.7, 11.3, 34.6, 33.1], [12.2, 9.1, 31.5, 30.4]], [1, 1, 2]
    )
    beside = beside[[bag_is_clear(anchors, box, bag_size) for box in beside.bboxes]]
    batch = [random_objects(generator, anchors, 4, bag_size, classes=2), instances([], []), beside]
    cls_scores = maps(generator, 3, PER_LOCATION * NUM_CLASSES, SIZES, scale=scale)
    return cls_scores, to_maps(localising_deltas(generator, head, anchors, batch)), batch


def losses_of(head, cls_scores, bbox_preds, batch):
    return head.loss_by_feat(cls_scores, bbox_preds, batch, [meta(SIDE)] * len(batch))


def gradients_of(loss: Tensor, *levels: list[Tensor]) -> list[Tensor]:
    leaves = list(itertools.chain(*levels))
    found = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
    return [
        torch.zeros_like(leaf) if grad is None else grad for grad, leaf in zip(found, leaves, strict=True)
    ]


def assert_same(found, expected, ours, theirs, rtol=1e-5):
    """Losses and gradients of each are the same; ``expected`` is in double precision."""
    for name, value in found.items():
        assert value.dtype == torch.float32 and value.shape == ()
        assert value.item() == pytest.approx(expected[name].item(), rel=rtol), name
        for one, other in zip(gradients_of(value, *ours), gradients_of(expected[name], *theirs), strict=True):
            highest = other.abs().max().item()
            torch.testing.assert_close(one.double(), other.double(), rtol=1e-3, atol=rtol * highest + 1e-12)


def in_double(levels):
    return [level.detach().double().requires_grad_() for level in levels]


def mmdet_losses(head, cls_scores, bbox_preds, batch):
    batch = [instances([], []) if not len(one) else one.clone() for one in batch]
    for one in batch:
        one.bboxes = one.bboxes.double()
    losses = losses_of(head, cls_scores, bbox_preds, batch)
    return dict(loss_positive=losses["positive_bag_loss"], loss_negative=losses["negative_bag_loss"])


def exempted(head, cls_scores, bbox_preds, batch) -> Tensor:
    """P{a in A+} of the pairs where it is above 0."""
    return head.background_exemptions(head.match(cls_scores, bbox_preds, batch))[1]


@pytest.mark.parametrize("seed", range(6))
def test_losses_and_gradients_are_those_of_mmdet(seed):
    cls_scores, bbox_preds, batch = random_batch(seed)
    probability = exempted(make_head(), cls_scores, bbox_preds, batch)
    assert len(probability) > 100 and probability.unique().numel() > 50
    found = losses_of(make_head(), cls_scores, bbox_preds, batch)
    ours, theirs = (cls_scores, bbox_preds), (in_double(cls_scores), in_double(bbox_preds))
    assert_same(found, mmdet_losses(make_mmdet_head(), *theirs, batch), ours, theirs)


@pytest.mark.parametrize(
    "options",
    [
        dict(bag_size=1),
        dict(bag_size=30),
        dict(bag_size=180),  # all anchors
        dict(iou_threshold=0.3),
        dict(iou_threshold=0.8),
        dict(gamma=0.0),
        dict(gamma=1.5),
        dict(alpha=0.25),
        dict(alpha=0.0),
        dict(alpha=1.0),
        dict(beta=1.0, weight=2.0),
        dict(bag_size=12, iou_threshold=0.5, gamma=1.0, alpha=0.7, beta=0.2, weight=0.1),
    ],
    ids=str,
)
def test_options_mean_the_same_as_in_mmdet(options):
    bag_size = options.get("bag_size", 7)
    cls_scores, bbox_preds, batch = random_batch(20, bag_size)
    assert len(batch[2]) > 0
    found = losses_of(make_head(**options), cls_scores, bbox_preds, batch)
    ours, theirs = (cls_scores, bbox_preds), (in_double(cls_scores), in_double(bbox_preds))
    assert_same(found, mmdet_losses(make_mmdet_head(**options), *theirs, batch), ours, theirs)


def test_several_objects_of_a_class_share_anchors():
    """The batch above is no trivial one: the highest P{a -> b} of several objects of a class counts."""
    cls_scores, bbox_preds, batch = random_batch(0)
    head = make_head()
    matched = head.match(cls_scores, bbox_preds, batch)
    pairs = head.background_exemptions(matched)[0]
    assert len(pairs.unique()) < len(pairs)
    members = matched.bags.pairs(matched.layout)
    assert len(members.unique()) < members.numel()


def batch_without_objects():
    generator = torch.Generator().manual_seed(1)
    cls_scores = maps(generator, 2, PER_LOCATION * NUM_CLASSES, SIZES)
    return cls_scores, maps(generator, 2, PER_LOCATION * 4, SIZES), [instances([], [])] * 2


def test_without_objects_everything_is_background():
    cls_scores, bbox_preds, batch = batch_without_objects()
    found = losses_of(make_head(), cls_scores, bbox_preds, batch)
    assert found["loss_positive"] == 0
    p = torch.sigmoid(torch.cat([level.flatten() for level in cls_scores]).double())
    expected = (p**2 * -torch.log(1 - p)).sum()
    ratio = (found["loss_negative"] / expected).item()
    assert ratio > 0
    ours, theirs = (gradients_of(loss, cls_scores) for loss in (found["loss_negative"], expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, ratio * other, rtol=1e-4, atol=1e-7)
    # Box regression is part of the graph all the same: distributed training waits for its gradient.
    for gradient in torch.autograd.grad(sum(found.values()), bbox_preds):
        assert not gradient.any()


def test_a_batch_without_objects_counts_as_one_with_one():
    """mmdet divides the loss of its background by 1, that of a batch with an object by n."""
    cls_scores, bbox_preds, batch = batch_without_objects()
    found = losses_of(make_head(), cls_scores, bbox_preds, batch)
    theirs = mmdet_losses(make_mmdet_head(), in_double(cls_scores), in_double(bbox_preds), batch)
    bag_size = make_head().bag_size
    assert found["loss_positive"] == theirs["loss_positive"] == 0
    assert found["loss_negative"].item() == pytest.approx(theirs["loss_negative"].item() / bag_size, rel=1e-5)


# The equations again, without mmdet.


def iou(a, b):
    width = (torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])).clamp(min=0)
    height = (torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])).clamp(min=0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


def centre(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]


def localisation_probability(anchor, deltas, box, beta=0.11, weight=0.75):
    (ax, ay, aw, ah), (bx, by, bw, bh) = centre(anchor), centre(box)
    target = ((bx - ax) / aw, (by - ay) / ah, torch.log(bw / aw), torch.log(bh / ah))
    loss = 0
    for found, wanted, std in zip(deltas, target, STDS, strict=True):
        size = (found - wanted / std).abs()
        loss = loss + (size**2 / (2 * beta) if size < beta else size - beta / 2)
    return torch.exp(-weight * loss)


def decode(anchor, deltas):
    ax, ay, aw, ah = centre(anchor)
    dx, dy, dw, dh = [delta * std for delta, std in zip(deltas, STDS, strict=True)]
    x, y, w, h = ax + aw * dx, ay + ah * dy, aw * torch.exp(dw), ah * torch.exp(dh)
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def losses_in_loops(anchors, logits, deltas, batch, bag_size, threshold, gamma, alpha):
    positive = negative = torch.zeros((), dtype=torch.float64)
    objects = 0
    for image, targets in enumerate(batch):
        on_object = torch.zeros(len(anchors), NUM_CLASSES, dtype=torch.float64)  # P{a in A+}
        for box, label in zip(targets.bboxes.double(), targets.labels.tolist(), strict=True):
            objects += 1
            bag = sorted(range(len(anchors)), key=lambda a, box=box: -iou(anchors[a], box).item())[:bag_size]
            matching = [
                torch.sigmoid(logits[image, a, label])
                * localisation_probability(anchors[a], deltas[image, a], box)
                for a in bag
            ]
            weights = [1 / (1 - p).clamp(min=1e-12) for p in matching]
            mean_max = sum(w * p for w, p in zip(weights, matching, strict=True)) / sum(weights)
            positive = positive - alpha * torch.log(mean_max)
            with torch.no_grad():
                overlaps = [
                    iou(decode(anchors[a], deltas[image, a]), box).item() for a in range(len(anchors))
                ]
            t2 = max(max(overlaps), threshold + 1e-12)
            for anchor, overlap in enumerate(overlaps):
                probability = min(1.0, max(0.0, (overlap - threshold) / (t2 - threshold)))
                on_object[anchor, label] = max(on_object[anchor, label].item(), probability)
        p = torch.sigmoid(logits[image]) * (1 - on_object)
        negative = negative + (1 - alpha) * (p**gamma * -torch.log(1 - p)).sum()
    return dict(
        loss_positive=positive / max(1, objects), loss_negative=negative / (max(1, objects) * bag_size)
    )


def test_losses_and_gradients_are_those_of_the_equations():
    cls_scores, bbox_preds, batch = random_batch(7, bag_size=9)
    head = make_head(bag_size=9, iou_threshold=0.55, gamma=1.7, alpha=0.4)
    found = losses_of(head, cls_scores, bbox_preds, batch)
    theirs = in_double(cls_scores), in_double(bbox_preds)
    logits, deltas = rows(theirs[0], NUM_CLASSES), rows(theirs[1], 4)
    expected = losses_in_loops(anchors_of(head).double(), logits, deltas, batch, 9, 0.55, 1.7, 0.4)
    assert_same(found, expected, (cls_scores, bbox_preds), theirs)


def test_the_background_does_not_train_boxes():
    cls_scores, bbox_preds, batch = random_batch(8)
    losses = losses_of(make_head(), cls_scores, bbox_preds, batch)
    gradients = torch.autograd.grad(losses["loss_negative"], bbox_preds, retain_graph=True, allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in gradients)
    assert all(gradient.any() for gradient in torch.autograd.grad(losses["loss_positive"], bbox_preds))


def values(losses):
    return {name: value.item() for name, value in losses.items()}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.permutations(range(7)), st.integers(0, 1000))
def test_the_order_of_objects_does_not_matter(order, seed):
    generator = torch.Generator().manual_seed(seed)
    head = make_head()
    anchors = anchors_of(head)
    targets = random_objects(generator, anchors, 7, 7, classes=2)
    cls_scores = maps(generator, 1, PER_LOCATION * NUM_CLASSES, SIZES)
    bbox_preds = to_maps(localising_deltas(generator, head, anchors, [targets]))
    expected = values(losses_of(head, cls_scores, bbox_preds, [targets]))
    found = values(losses_of(head, cls_scores, bbox_preds, [targets[list(order)]]))
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_order_of_images_does_not_matter():
    cls_scores, bbox_preds, batch = random_batch(9)
    expected = values(losses_of(make_head(), cls_scores, bbox_preds, batch))
    turned = [level.flip(0) for level in cls_scores], [level.flip(0) for level in bbox_preds]
    assert values(losses_of(make_head(), *turned, batch[::-1])) == pytest.approx(expected, rel=1e-5)


def test_an_empty_image_of_certain_background_changes_nothing():
    cls_scores, bbox_preds, batch = random_batch(10)
    expected = losses_of(make_head(), cls_scores, bbox_preds, batch)
    longer = [torch.cat([level, torch.full_like(level[:1], -1e4)]) for level in cls_scores]
    boxes = [torch.cat([level, level[:1]]) for level in bbox_preds]
    found = losses_of(make_head(), longer, boxes, [*batch, instances([], [])])
    assert values(found) == pytest.approx(values(expected), rel=1e-6)
    # Any other adds its background to the loss: it is divided by the objects, not by the images.
    longer = [torch.cat([level, level[:1]]) for level in cls_scores]
    found = losses_of(make_head(), longer, boxes, [*batch, instances([], [])])
    assert found["loss_negative"] > 1.1 * expected["loss_negative"]
    assert found["loss_positive"].item() == pytest.approx(expected["loss_positive"].item(), rel=1e-6)


def many_objects():
    generator = torch.Generator().manual_seed(11)
    corner = torch.rand(500, 2, generator=generator) * 40
    sides = torch.rand(500, 2, generator=generator) * 20 + 1
    boxes = torch.cat([corner, corner + sides], dim=1)
    return instances(boxes.tolist(), torch.randint(NUM_CLASSES, (500,), generator=generator).tolist())


DEGENERATE = {
    "no object": [instances([], []), instances([], [])],
    "one image without": [instances([[4, 4, 20, 20]], [0]), instances([], [])],
    "equal boxes": [instances([[4, 4, 20, 20]] * 3, [0, 0, 2]), instances([[5, 5, 40, 40]] * 2, [1, 1])],
    "tiny and huge": [instances([[5, 5, 5.5, 5.5]], [0]), instances([[-500, -500, 600, 600]], [1])],
    "outside": [
        instances([[200, 200, 230, 240], [-90, 5, -60, 9]], [0, 1]),
        instances([[40, 40, 90, 90]], [2]),
    ],
    "500 objects": [many_objects(), instances([[4, 4, 20, 20]], [0])],
}


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("bag_size", [1, 40, 1000])  # there are 180 anchors
@pytest.mark.parametrize("logit", [None, 50.0, -50.0, 0.0])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_input_gives_finite_losses_and_gradients(name, logit, bag_size, autocast):
    generator = torch.Generator().manual_seed(3)
    batch = DEGENERATE[name]
    head = make_head(bag_size=bag_size)
    cls_scores = maps(generator, 2, PER_LOCATION * NUM_CLASSES, SIZES, scale=50 if logit is None else 0)
    deltas = localising_deltas(generator, head, anchors_of(head), batch, noise=0 if logit else 5)
    bbox_preds = to_maps(deltas.clamp(-60, 60))
    given_scores = cls_scores if logit is None else [level + logit for level in cls_scores]
    given_boxes = bbox_preds
    if autocast:
        given_scores = [level.bfloat16() for level in given_scores]
        given_boxes = [level.bfloat16() for level in given_boxes]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        losses = losses_of(head, given_scores, given_boxes, batch)
    for value in losses.values():
        assert value.dtype == torch.float32
        assert math.isfinite(value.item()) and value >= -1e-6
    gradients = torch.autograd.grad(sum(losses.values()), [*cls_scores, *bbox_preds])
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_bag_of_fewer_anchors_than_asked_for_holds_all():
    cls_scores, bbox_preds, batch = random_batch(12)
    anchors = len(anchors_of(make_head()))
    everything = losses_of(make_head(bag_size=anchors), cls_scores, bbox_preds, batch)
    found = losses_of(make_head(bag_size=10 * anchors), cls_scores, bbox_preds, batch)
    assert found["loss_positive"].item() == pytest.approx(everything["loss_positive"].item())
    # The background is divided by the size asked for, as in the paper.
    assert 10 * found["loss_negative"].item() == pytest.approx(everything["loss_negative"].item())


@pytest.mark.parametrize(("height", "threshold"), [(6, 0.6), (5, 0.5), (3, 0.3), (7, 0.7)])
def test_an_iou_at_the_threshold_is_background(height, threshold):
    """Anchors of 10 x 10 pixels every 8: with deltas of 0 the best box has exactly the IoU t."""
    anchors = dict(type="AnchorGenerator", scales=[1.0], ratios=[1.0], strides=[8, 16], base_sizes=[10, 1000])
    options = dict(anchors=anchors, bag_size=2, iou_threshold=threshold)
    generator = torch.Generator().manual_seed(0)
    cls_scores = maps(generator, 1, NUM_CLASSES, SIZES)
    bbox_preds = [level.detach().requires_grad_() for level in maps(generator, 1, 4, SIZES, scale=0.0)]
    batch = [instances([[11, 11, 21, 11 + height]], [1])]
    boxes = anchors_of(make_head(**options))
    assert bbox_overlaps(batch[0].bboxes, boxes).max() == torch.tensor(threshold)
    theirs = make_mmdet_head(**options)
    probability, *_ = theirs.positive_loss_single(
        torch.zeros(len(boxes), NUM_CLASSES), torch.zeros(len(boxes), 4), boxes, batch[0]
    )
    assert probability.isnan().any()  # 0 / 0

    found = losses_of(make_head(**options), cls_scores, bbox_preds, batch)
    assert exempted(make_head(**options), cls_scores, bbox_preds, batch).sum() == 0
    logits = torch.cat([level.detach().double().flatten() for level in cls_scores])
    p = torch.sigmoid(logits)
    assert found["loss_negative"].item() == pytest.approx((p**2 * -torch.log(1 - p)).sum().item() / 2 / 2)
    gradients = torch.autograd.grad(sum(found.values()), [*cls_scores, *bbox_preds])
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_saturated_linear():
    x = torch.tensor([0.0, 0.5, 0.6, 0.7, 0.8, 1.0])
    found = saturated_linear(x, 0.6, torch.full_like(x, 0.8))
    assert found.tolist() == pytest.approx([0, 0, 0, 0.5, 1, 1], abs=1e-6)
    step = saturated_linear(x, 0.5, torch.full_like(x, 0.5))
    assert step.tolist() == [0, 0, 1, 1, 1, 1]


def test_autocast_leaves_the_losses_in_float32():
    cls_scores, bbox_preds, batch = random_batch(13)
    expected = losses_of(make_head(), cls_scores, bbox_preds, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses_of(make_head(), cls_scores, bbox_preds, batch)
    assert values(found) == pytest.approx(values(expected), rel=1e-6)


def test_half_precision_maps_are_worked_on_in_float32():
    cls_scores, bbox_preds, batch = random_batch(14)
    half = [[level.detach().bfloat16() for level in levels] for levels in (cls_scores, bbox_preds)]
    full = [[level.float() for level in levels] for levels in half]
    found = values(losses_of(make_head(), *half, batch))
    assert found == pytest.approx(values(losses_of(make_head(), *full, batch)), rel=1e-6)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_the_head_trains_on_features(autocast):
    torch.manual_seed(0)
    head = make_head()
    features = tuple(torch.randn(2, 8, size, size) for size in SIZES)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        losses = head.loss(features, samples(SIDE, [3, 0], NUM_CLASSES))
    assert losses.keys() == {"loss_positive", "loss_negative"}
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (dict(bag_size=0), "bag_size"),
        (dict(bag_size=7.5), "bag_size"),
        (dict(iou_threshold=1.0), "iou_threshold"),
        (dict(iou_threshold=-0.1), "iou_threshold"),
        (dict(iou_threshold=math.nan), "iou_threshold"),
        (dict(alpha=1.5), "loss_cls.alpha"),
        (dict(alpha=-0.1), "loss_cls.alpha"),
        (dict(gamma=-1.0), "loss_cls.gamma"),
        (dict(gamma=math.inf), "loss_cls.gamma"),
        (dict(weight=-1.0), "loss_bbox.loss_weight"),
    ],
)
def test_options_out_of_range_are_named(options, field):
    with pytest.raises(SuiteError) as failure:
        make_head(**options)
    value = next(iter(options.values()))
    assert str(failure.value).startswith(f"model.bbox_head.{field}: expected ")
    assert f"found {value!r}" in str(failure.value)
