"""Statistics of boxes against brute force."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.data import boxes

BOX = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30))
ROW = st.tuples(st.integers(1, 4), st.integers(1, 3), BOX, st.sampled_from([0, 0, 0, 1]))


def frame(rows) -> pd.DataFrame:
    columns = ["image_id", "category_id", "iscrowd", "x", "y", "w", "h"]
    return pd.DataFrame([(i, c, crowd, *map(float, box)) for i, c, box, crowd in rows], columns=columns)


def pixels(box) -> set[tuple[int, int]]:
    x, y, w, h = map(int, box)
    return {(i, j) for i in range(x, x + w) for j in range(y, y + h)}


def iou(first, second) -> float:
    a, b = pixels(first), pixels(second)
    return len(a & b) / len(a | b)


@settings(max_examples=60, deadline=None)
@given(st.lists(BOX, max_size=4), st.lists(BOX, max_size=4))
def test_pairwise_iou_counts_common_pixels(first, second):
    found = boxes.pairwise_iou(np.array(first).reshape(-1, 4), np.array(second).reshape(-1, 4))
    assert found.shape == (len(first), len(second))
    expected = np.array([[iou(a, b) for b in second] for a in first]).reshape(found.shape)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_iou_of_pairs_of_corners_and_of_crowds():
    one = np.array([[0.0, 0, 10, 10], [5, 0, 10, 10], [20, 20, 10, 10], [3, 3, 0, 0], [0, 0, 10, 10]])
    two = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [3, 3, 0, 0], [5, 0, 20, 10]])
    crowd = np.array([False, False, False, False, True])
    assert boxes.iou(one, two, crowd=crowd).tolist() == [1.0, 50 / 150, 0.0, 0.0, 0.5]
    corners = [np.c_[given[:, :2], given[:, :2] + given[:, 2:]] for given in (one, two)]
    assert boxes.iou(*corners, corners=True).tolist() == [1.0, 50 / 150, 0.0, 0.0, 50 / 250]
    assert boxes.iou(corners[0], corners[1][0], corners=True).tolist() == [1.0, 50 / 150, 0.0, 0.0, 1.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, max_size=12), st.randoms())
def test_crowdedness_and_counts_against_brute_force(rows, random):
    annotations = frame(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    annotations = annotations.loc[order]
    image_ids = [4, 2, 1, 3, 9]

    per_object = boxes.crowdedness_of_objects(annotations)
    expected = {}
    for number, (image, _, box, crowd) in enumerate(rows):
        if not crowd:
            others = [r[2] for n, r in enumerate(rows) if n != number and r[0] == image and not r[3]]
            expected[number] = max((iou(box, other) for other in others), default=0.0)
    assert per_object.to_dict() == pytest.approx(expected)

    per_image = boxes.crowdedness_of_images(annotations, image_ids)
    counts = boxes.objects_per_image(annotations, image_ids)
    assert list(per_image.index) == list(counts.index) == image_ids
    for image in image_ids:
        members = [n for n in expected if rows[n][0] == image]
        assert per_image[image] == pytest.approx(max((expected[n] for n in members), default=0.0))
        assert counts[image] == len(members)


def test_aspect_ratio_is_the_mean_over_objects_of_the_longer_by_the_shorter_side():
    rows = [(1, 7, (0, 0, 10, 20), 0), (1, 7, (0, 0, 40, 10), 0), (2, 5, (0, 0, 9, 9), 0)]
    crowd = (2, 5, (0, 0, 90, 1), 1)
    found = boxes.aspect_ratio_of_categories(frame([*rows, crowd]))
    assert found.to_dict() == pytest.approx({7: 3.0, 5: 1.0})


def test_a_validation_set_of_coco_size_takes_less_than_a_second():
    rng = np.random.default_rng(0)
    n = 36_000
    annotations = pd.DataFrame(rng.uniform(1, 200, (n, 4)), columns=["x", "y", "w", "h"])
    annotations = annotations.assign(
        image_id=rng.integers(5000, size=n), category_id=rng.integers(80, size=n), iscrowd=0
    )
    start = time.process_time()
    boxes.crowdedness_of_images(annotations, range(5000))
    boxes.objects_per_image(annotations, range(5000))
    boxes.aspect_ratio_of_categories(annotations)
    assert time.process_time() - start < 1


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, max_size=12))
def test_alternatives_of_crowdedness_against_brute_force(rows):
    annotations = frame(rows)
    same, near = {}, {}
    for number, (image, category, box, crowd) in enumerate(rows):
        if crowd:
            continue
        others = [r for n, r in enumerate(rows) if n != number and r[0] == image and not r[3]]
        same[number] = max((iou(box, r[2]) for r in others if r[1] == category), default=0.0)
        apart = [
            (2 * r[2][0] + r[2][2] - 2 * box[0] - box[2]) ** 2
            + (2 * r[2][1] + r[2][3] - 2 * box[1] - box[3]) ** 2
            for r in others
        ]
        nearest = [r for r, distance in zip(others, apart, strict=True) if distance == min(apart)]
        near[number] = max((iou(box, r[2]) for r in nearest), default=0.0)
    assert boxes.crowdedness_of_objects(annotations, same_category=True).to_dict() == pytest.approx(same)
    assert boxes.crowdedness_of_objects(annotations, nearest=True).to_dict() == pytest.approx(near)
    means = boxes.crowdedness_of_images(annotations, [4, 2, 1, 3, 9], same_category=True, mean=True)
    for image in means.index:
        own = [value for number, value in same.items() if rows[number][0] == image]
        assert means[image] == pytest.approx(np.mean(own) if own else 0.0)
