"""How much more than AP the metrics AP50, AP75, APS, APM and APL spread over trainings.

Trainings of one configuration find about the same objects, with boxes and scores that differ a little. They
are simulated on boxes like val2017's (5,000 images, 80 categories as uneven, 41, 34 and 25 % small, medium
and large objects): what makes an object hard is drawn once, each training's error of box and score anew. The
noise is set so that the levels are those of RetinaNet with ResNet-50; how far it moves AP does not matter, as
only ratios to AP's spread are taken: :data:`suite.evaluation.uncertainty.SPREAD_BY_AP` holds them, rounded.

    python benchmarks/metric_spread.py --trainings 30
"""

import argparse
import json

import numpy as np
import pandas as pd

from suite.evaluation.coco_ap import evaluate
from suite.evaluation.ground_truth import GroundTruth

IMAGES, CATEGORIES, OBJECTS = 5_000, 80, 36_000
SIDES = ((8, 32), (32, 96), (96, 400))
SHARES = (0.41, 0.34, 0.25)
BOX_ERROR = (0.085, 0.05, 0.042)
"""Median error of a box's edges, as a share of its side: small, medium, large."""
MISSED = (0.4, 0.15, 0.05)
METRICS = ("AP", "AP50", "AP75", "APS", "APM", "APL")


def draw_truth(rng: np.random.Generator) -> GroundTruth:
    """Boxes like val2017's; column ``size`` is 0, 1 or 2."""
    share = 1 / np.arange(1, CATEGORIES + 1)
    size = rng.choice(3, OBJECTS, p=SHARES)
    low, high = np.log(np.array(SIDES, dtype=float)[size]).T
    side = np.exp(rng.uniform(low, high))
    ratio = np.exp(rng.normal(0, 0.4, OBJECTS))
    w, h = side * np.sqrt(ratio), side / np.sqrt(ratio)
    annotations = pd.DataFrame(
        {
            "id": np.arange(1, OBJECTS + 1),
            "image_id": 1 + (rng.exponential(size=OBJECTS) * IMAGES / 3).astype(int) * 7919 % IMAGES,
            "category_id": rng.choice(CATEGORIES, OBJECTS, p=share / share.sum()) + 1,
            "x": rng.uniform(0, 600, OBJECTS),
            "y": rng.uniform(0, 450, OBJECTS),
            "w": w,
            "h": h,
            "area": w * h,
            "iscrowd": False,
        }
    )
    return GroundTruth(
        pd.DataFrame({"id": np.arange(1, IMAGES + 1), "width": 640, "height": 480}),
        annotations,
        pd.DataFrame({"id": np.arange(1, CATEGORIES + 1), "name": [f"c{i}" for i in range(CATEGORIES)]}),
    )


def training(truth: GroundTruth, seed: int) -> pd.DataFrame:
    """One training's detections: two thirds of its errors are the configuration's, one third is its own."""
    common, own = np.random.default_rng(0), np.random.default_rng([1, seed])
    objects = truth.annotations
    size = np.digitize(objects["area"], [32**2, 96**2])
    hard = common.lognormal(0, 0.6, OBJECTS)
    sigma = np.array(BOX_ERROR)[size] * hard
    error = np.sqrt(2 / 3) * common.normal(size=(OBJECTS, 4)) + np.sqrt(1 / 3) * own.normal(size=(OBJECTS, 4))
    boxes = objects[["x", "y", "w", "h"]].to_numpy()
    found = boxes + error * sigma[:, None] * boxes[:, [2, 3, 2, 3]]
    found[:, 2:] = np.maximum(found[:, 2:], 1)
    score = -np.log(hard) - 2 * np.array(MISSED)[size] + common.normal(0, 0.7, OBJECTS)
    score += own.normal(0, 0.4, OBJECTS)
    seen = common.random(OBJECTS) + own.normal(0, 0.1, OBJECTS) > np.array(MISSED)[size]
    frame = objects[["image_id", "category_id"]].assign(score=score)
    frame[list("xywh")] = found
    false = frame.sample(2 * OBJECTS, replace=True, random_state=0).reset_index(drop=True)
    false["x"] += 3 * false["w"]
    false["score"] += common.normal(-2.3, 0.7, len(false)) + own.normal(0, 0.4, len(false))
    return pd.concat([frame[seen], false], ignore_index=True)


def main() -> None:
    """Simulate, and print levels, spreads and ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", type=int, default=30)
    options = parser.parse_args()
    truth = draw_truth(np.random.default_rng(7))
    found = [evaluate(truth, training(truth, seed)).metrics for seed in range(options.trainings)]
    values = 100 * np.array([[one[name] for name in METRICS] for one in found])
    spread = values.std(axis=0, ddof=1)
    print(
        json.dumps(
            {
                "trainings": options.trainings,
                "level": dict(zip(METRICS, values.mean(axis=0).round(1).tolist(), strict=True)),
                "spread": dict(zip(METRICS, spread.round(3).tolist(), strict=True)),
                "ratio to AP's": dict(zip(METRICS, (spread / spread[0]).round(2).tolist(), strict=True)),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
