"""LTM's loss in loops and in double precision, for the tests of both heads."""

import pytest
import torch
from detection_data import NUM_CLASSES, instances, random_instances

SIZES = [6, 3]
STRIDES = [8, 16]


def iou(a, b):
    width = (torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])).clamp(min=0)
    height = (torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])).clamp(min=0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


def matching_loss_in_loops(logits, objects, bag_of, localisation_of, iou_of, *, relative=True, negative=None):
    """L+, L-, focal as LTM's released code defines them.

    ``bag_of(box)``, ``localisation_of(image, member, box)`` and ``iou_of(image, member, box)`` are the part
    of the head; ``negative(phi)`` is -log M- of a bag, None for no L-.
    """
    positive, negative_losses, pairs = [], [], set()
    for image, targets in enumerate(objects):
        entries = []
        highest: dict[tuple[int, int], torch.Tensor] = {}
        for box, label in zip(targets.bboxes.double(), targets.labels.tolist(), strict=True):
            bag = bag_of(box)
            ious = [iou_of(image, member, box).detach() for member in bag]
            scale = max(ious) if relative else torch.ones(())
            for member, value in zip(bag, ious, strict=True):
                value = (value / scale.clamp(min=1e-12)).clamp(0, 1)
                highest[member, label] = max(highest.get((member, label), value), value)
                pairs.add((image, member, label))
            entries.append((box, label, bag))
        for box, label, bag in entries:
            phi = [
                torch.sigmoid(logits[image, m, label]) * torch.exp(-localisation_of(image, m, box))
                for m in bag
            ]
            weights = [1 / (1 - p).clamp(min=1e-12) for p in phi]
            positive.append(-torch.log(sum(w * p for w, p in zip(weights, phi, strict=True)) / sum(weights)))
            phi = [torch.sigmoid(logits[image, m, label]) * (1 - highest[m, label]) for m in bag]
            if negative is not None:
                negative_losses.append(negative(phi))
    focal = torch.zeros((), dtype=torch.float64)
    for image in range(len(logits)):
        for member in range(logits.shape[1]):
            for label in range(NUM_CLASSES):
                if (image, member, label) not in pairs:
                    p = torch.sigmoid(logits[image, member, label])
                    focal = focal - p**2 * torch.log(1 - p)
    losses = dict(loss_positive=sum(positive) / len(positive), loss_focal=focal / len(pairs))
    if negative is not None:
        losses["loss_negative"] = sum(negative_losses) / len(negative_losses)
    return losses


def assert_same_losses_and_gradients(found, expected, leaves):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=2e-5), name
    ours = torch.autograd.grad(sum(found.values()), leaves)
    theirs = torch.autograd.grad(sum(expected.values()), leaves)
    for one, other in zip(ours, theirs, strict=True):
        assert one.abs().sum() > 0
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-6)


def released_negative(phi):
    """-log M- of a bag, as LTM's released code has it."""
    weights = [p / ((1 - p) ** 2).clamp(min=1e-12) for p in phi]
    return -torch.log(1 - sum(w * p for w, p in zip(weights, phi, strict=True)) / sum(weights))


def objects_of(seed):
    generator = torch.Generator().manual_seed(seed)
    batch = [random_instances(generator, 48, count, NUM_CLASSES) for count in (3, 0, 2)]
    # Two objects of one class side by side share anchors: their pairs take the higher IoU.
    batch[2] = instances(
        [[10.3, 10.9, 30.1, 34.2], [13.7, 11.3, 34.6, 33.1], [12.2, 9.1, 31.5, 30.4]], [1, 1, 2]
    )
    return generator, batch
