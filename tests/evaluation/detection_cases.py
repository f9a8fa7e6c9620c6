"""Random detection problems, small and awkward, for the tests of matching and of the bootstrap."""

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from suite.evaluation.ground_truth import GroundTruth

COLUMNS = ["image_id", "category_id", "score", "x", "y", "w", "h"]
CATEGORIES = (7, 1, 3, 9, 12)
"""Not in order; 9 has detections but no objects, 12 has neither."""


def draw(
    seed: int, images: int = 6, decimals: int = 1, crowded: bool = False, distinct: bool = False
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Annotations and detections.

    Args:
        seed: Of everything.
        images: Their ids are not in order; some have no objects.
        decimals: Of the scores: few make ties.
        crowded: Over 100 detections of one category in the first image.
        distinct: No two equal scores within an image.
    """
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.arange(3, 3 + images)).tolist()
    annotations: list[dict[str, Any]] = []
    rows: list[list[float]] = []
    for image in ids:
        for _ in range(rng.integers(0, 8)):
            size = np.exp(rng.uniform(np.log(8), np.log(200), 2))
            box = np.r_[rng.uniform(0, 100, 2), size]
            category = int(rng.choice([1, 3, 7]))
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": category,
                    "bbox": box.tolist(), "area": float(np.prod(size) * rng.uniform(0.5, 1)),
                    "iscrowd": int(rng.random() < 0.15),
                }
            )  # fmt: skip
            for _ in range(rng.integers(0, 4)):
                near = box + rng.normal(0, rng.choice([0, 0.03, 0.15]), 4) * np.tile(size, 2)
                near[2:] = np.maximum(near[2:], 1)
                rows.append([image, rng.choice([category, category, 9]), rng.random(), *near])
        for _ in range(120 if crowded and image == ids[0] else rng.integers(0, 4)):
            rows.append([image, rng.choice([1, 1, 3, 9]), rng.random(), *rng.uniform(5, 200, 4)])
    content = {
        "images": [{"id": image, "width": 640, "height": 480} for image in ids],
        "categories": [{"id": one, "name": f"c{one}"} for one in CATEGORIES],
        "annotations": annotations,
    }
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"image_id": np.int64, "category_id": np.int64})
    frame["score"] = frame["score"].round(decimals)
    if distinct:
        for _, members in frame.groupby("image_id").groups.items():
            frame.loc[members, "score"] = rng.permutation(len(members) + 20)[: len(members)] / 100
    return content, frame.sample(frac=1, random_state=seed).reset_index(drop=True)


def repeated(
    content: dict[str, Any], detections: pd.DataFrame, times: dict[int, int]
) -> tuple[GroundTruth, pd.DataFrame]:
    """The data set in which each image is there so many times, copies beside each other by id."""
    images, annotations, frames = [], [], []
    for image in content["images"]:
        for copy in range(times[image["id"]]):
            new = image["id"] * 100 + copy
            images.append({**image, "id": new})
            for box in content["annotations"]:
                if box["image_id"] == image["id"]:
                    annotations.append({**box, "id": len(annotations) + 1, "image_id": new})
            frames.append(detections[detections["image_id"] == image["id"]].assign(image_id=new))
    frame = pd.concat(frames, ignore_index=True) if frames else detections.head(0)
    return GroundTruth.from_coco({**content, "images": images, "annotations": annotations}), frame


problems = st.builds(
    draw,
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 7),
    decimals=st.integers(1, 3),
    crowded=st.booleans(),
)
