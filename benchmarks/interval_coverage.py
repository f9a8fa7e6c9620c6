"""How often intervals contain the truth: of a claim, for new seeds and new images, and over images alone.

Images are drawn with replacement from an annotation file, such as COCO's ``instances_val2017.json``, and
what makes each object hard is drawn anew. Detectors find the objects with errors that depend on it; a
training has a quality of its own, also by category, so that seeds differ. The truth is measured on many more
images, over trainings whose deviations cancel in pairs. It tells:

- ``claims``: the share of intervals of :mod:`suite.reporting.measuring` with the true difference of two
  methods, for AP on all images and for AP of one category, by its number of objects;
- ``images``: the same for intervals over images alone, of a level and of a difference of two detectors.

    python benchmarks/interval_coverage.py --annotations instances_val2017.json --images 200 --datasets 200
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.evaluation.bootstrap import WeightedAP, resample
from suite.evaluation.coco_ap import evaluate
from suite.evaluation.contrasts import make_look, moderated
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.matches import match
from suite.evaluation.replicates import REPLICATES
from suite.evaluation.uncertainty import reflected
from suite.reporting.measuring import variance_over_images

Array = npt.NDArray[Any]

METHODS = (0.0, 0.06, 0.1, -0.05, 0.03, 0.0)
"""Quality of each method; the claim is about the first two, the others show how much trainings spread."""
SEED_SPREAD, CATEGORY_SPREAD = 0.025, 0.1
"""Standard deviation of a training's quality, and of its deviation in one category."""
BUCKETS = (1, 10, 20, 50, 100, 200)
"""Least numbers of objects of the groups of categories."""
TRUTH_PAIRS = 4
SHARES = (0.5, 0.2, 0.3)
"""Of the variance of errors: common to all detectors, to a method's trainings, and to none."""


def sample(population: GroundTruth, n_images: int, rng: np.random.Generator) -> tuple[GroundTruth, Array]:
    """Images drawn with replacement, and how hard each of their objects is to find, ``(objects,)``."""
    groups = {image: frame for image, frame in population.objects.groupby("image_id")}
    drawn = rng.choice(population.images["id"].to_numpy(), n_images)
    parts = [groups[image].assign(image_id=place) for place, image in enumerate(drawn, 1) if image in groups]
    objects = pd.concat(parts, ignore_index=True)
    objects["id"] = np.arange(1, len(objects) + 1)
    images = population.images.set_index("id").loc[drawn].reset_index(drop=True)
    images.insert(0, "id", np.arange(1, n_images + 1))
    of_image = rng.normal(size=n_images)[objects["image_id"].to_numpy() - 1]
    hard = np.exp(0.3 * of_image + 0.5 * rng.normal(size=len(objects)))
    return GroundTruth(images, objects, population.categories), hard


def training(n_categories: int, rng: np.random.Generator) -> Array:
    """How much better than its method a training is, by category."""
    return SEED_SPREAD * rng.normal() + CATEGORY_SPREAD * rng.normal(size=n_categories)


class Noise:
    """Errors with a part that all detectors share, one that a method's trainings share, and one of their own.

    Args:
        streams: Generators of what all detectors, the method's trainings, and this training alone have.
    """

    def __init__(self, *streams: np.random.Generator) -> None:
        self._streams = streams

    def __call__(self, *shape: int) -> Array:
        """Standard normal errors."""
        drawn = [stream.normal(size=shape) for stream in self._streams]
        return np.asarray(sum(np.sqrt(share) * one for share, one in zip(SHARES, drawn, strict=True)))


def detect(
    truth: GroundTruth, hard: Array, quality: Array, noise: Noise, rng: np.random.Generator
) -> pd.DataFrame:
    """Detections of a training with this quality by category; ``rng`` places the wrong ones."""
    objects, n = truth.objects, len(hard)
    place = np.searchsorted(truth.categories["id"].to_numpy(), objects["category_id"].to_numpy())
    of_object = quality[place]
    boxes = objects[["x", "y", "w", "h"]].to_numpy()
    sigma = 0.07 * hard * np.exp(-of_object)
    found = boxes + noise(n, 4) * sigma[:, None] * boxes[:, [2, 3, 2, 3]]
    found[:, 2:] = np.maximum(found[:, 2:], 1)
    seen = noise(n) < 0.8 + of_object - 0.9 * np.log(hard)
    frame = objects[["image_id", "category_id"]].assign(score=0.5 * of_object - np.log(hard) + 0.7 * noise(n))
    frame[list("xywh")] = found
    wrong = frame.iloc[rng.integers(0, n, 2 * n)].reset_index(drop=True)
    wrong["x"] += 3 * wrong["w"]
    wrong["score"] = 0.9 * noise(len(wrong)) - 0.6
    return pd.concat([frame[seen], wrong], ignore_index=True)


def noise_of(dataset: int, method: int, run: int) -> tuple[Noise, np.random.Generator]:
    """Errors of a training on a dataset, and what places its wrong detections: the same for all."""
    keys = ([dataset], [dataset, method], [dataset, method, run])
    streams = [np.random.default_rng([9, len(key), *key]) for key in keys]
    return Noise(*streams), np.random.default_rng([8, dataset])


def true_aps(population: GroundTruth, n_images: int, spread: bool) -> Array:
    """``(2, 1 + K)`` AP in percent of the first two methods: of all categories, then of each, NaN without."""
    rng = np.random.default_rng(0)
    truth, hard = sample(population, n_images, rng)
    ids = truth.categories["id"].tolist()
    sums = np.zeros((2, 1 + len(ids)))
    pairs = TRUTH_PAIRS if spread else 1
    for pair in range(pairs):
        deviation = training(len(ids), rng) * spread
        for sign in (-1, 1):
            for method in range(2):
                quality = METHODS[method] + sign * deviation
                noise, places = noise_of(10**6, method, 2 * pair + (sign > 0))
                found = evaluate(truth, detect(truth, hard, quality, noise, places))
                by_id = found.categories.set_index("id")["AP"]
                sums[method] += [found.metrics["AP"] or 0.0, *(by_id.get(one, np.nan) for one in ids)]
    return 100 * sums / (2 * pairs)


def numbers(truth: GroundTruth, found: pd.DataFrame, weights: Array) -> Array:
    """``(1 + replicates, 1 + K)`` AP in percent: of all categories, then of each."""
    by_category = 100 * WeightedAP(match(truth, found))(weights).mean(axis=2)
    whole = np.nansum(by_category, axis=1) / np.isfinite(by_category).sum(axis=1)
    return np.concatenate([whole[:, None], by_category], axis=1)


def claims(population: GroundTruth, true: Array, n_images: int, seeds: int, datasets: int) -> dict[str, Any]:
    """Coverage of the interval of a claim."""
    hits: dict[str, list[bool]] = defaultdict(list)
    errors: dict[str, list[tuple[float, float]]] = defaultdict(list)
    once = np.ones((1, n_images), np.uint16)
    weights = np.concatenate([once, resample(n_images, REPLICATES, 0)])
    n_categories = len(population.categories)
    for dataset in range(datasets):
        rng = np.random.default_rng([1, dataset])
        truth, hard = sample(population, n_images, rng)
        measured = [
            np.stack(
                [
                    numbers(
                        truth,
                        detect(
                            truth,
                            hard,
                            quality + training(n_categories, rng),
                            *noise_of(dataset, method, run),
                        ),
                        weights if method < 2 else once,
                    )
                    for run in range(seeds)
                ]
            )
            for method, quality in enumerate(METHODS)
        ]
        objects = truth.objects.groupby("category_id")
        counts = objects.size().reindex(truth.categories["id"], fill_value=0).to_numpy()
        on_images = objects["image_id"].nunique().reindex(truth.categories["id"], fill_value=0).to_numpy()
        for column in range(1 + n_categories):
            name, images = "all categories", n_images
            if column:
                if not counts[column - 1] or on_images[column - 1] < 2 or np.isnan(true[:, column]).any():
                    continue
                images = int(on_images[column - 1])
                least = max(one for one in BUCKETS if one <= counts[column - 1])
                name = f"one category, at least {least} objects"
            values = [runs[:, :, column] for runs in measured]
            spreads, df = moderated(np.array([one[:, 0].var(ddof=1) for one in values]), seeds - 1)
            effect = float(values[1][:, 0].mean() - values[0][:, 0].mean())
            over_images = variance_over_images([values[1][:, 1:], values[0][:, 1:]], [1.0, -1.0])
            look = make_look(
                seeds, effect, float(spreads[0] + spreads[1]) / seeds, float(df), over_images,
                min(REPLICATES, images) - 1,
            )  # fmt: skip
            if look.error == 0:
                hits[name].append(effect == true[1, column] - true[0, column])
                continue
            low, high = look.interval()
            hits[name].append(bool(low <= true[1, column] - true[0, column] <= high))
            errors[name].append((look.seed_error, look.image_error))
    return {
        name: {
            "covered": round(float(np.mean(hits[name])), 3),
            "intervals": len(hits[name]),
            "seed error": round(float(np.mean([one for one, _ in errors[name]])), 2),
            "image error": round(float(np.mean([one for _, one in errors[name]])), 2),
        }
        for name in sorted(hits)
    }


def images(population: GroundTruth, true: Array, n_images: int, datasets: int) -> dict[str, float]:
    """Coverage of the reflected bootstrap interval of two trained detectors, over images."""
    hits = np.zeros(2)
    weights = np.concatenate([np.ones((1, n_images), np.uint16), resample(n_images, REPLICATES, 0)])
    for dataset in range(datasets):
        rng = np.random.default_rng([2, dataset])
        truth, hard = sample(population, n_images, rng)
        quality = np.zeros(len(truth.categories))
        first, second = (
            numbers(
                truth, detect(truth, hard, quality + METHODS[method], *noise_of(dataset, method, 0)), weights
            )[:, 0]
            for method in range(2)
        )
        for place, (values, known) in enumerate(
            ((first, true[0, 0]), (second - first, true[1, 0] - true[0, 0]))
        ):
            found = reflected(float(values[0]), values[1:])
            hits[place] += found is not None and found.low <= known <= found.high
    level, difference = (hits / max(1, datasets)).round(3).tolist()
    return {"level": level, "difference": difference, "datasets": datasets}


def main() -> None:
    """Simulate, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--datasets", type=int, default=100, help="for claims")
    parser.add_argument("--image-datasets", type=int, default=100, help="for intervals over images alone")
    parser.add_argument("--truth-images", type=int, default=6000)
    options = parser.parse_args()
    population = GroundTruth.load(options.annotations)
    seeded, fixed = (true_aps(population, options.truth_images, spread) for spread in (True, False))
    result = {
        "annotations": options.annotations.name, "images": options.images, "seeds": options.seeds,
        "true AP": seeded[:, 0].round(2).tolist(),
        "claims": claims(population, seeded, options.images, options.seeds, options.datasets),
        "over images": images(population, fixed, options.images, options.image_datasets),
    }  # fmt: skip
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
