"""Paired bootstrap of COCO AP over images, on a problem of val2017's size, beside `hotcoco.compare`.

Both arms run in the same sitting, each in a process of its own so that its peak memory is its own, and both
start from frames in memory: matching is part of their time. Boxes and detections are drawn at random:
categories as skewed as COCO's, about as many right detections as a good detector has, the rest false ones.

    python benchmarks/bootstrap.py --replicates 1000
"""

import argparse
import json
import multiprocessing
import platform
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from suite.evaluation.bootstrap import WeightedAP, resample
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.matches import match
from suite.machine import cpu_count

IMAGES, CATEGORIES, OBJECTS, DETECTIONS = 5_000, 80, 36_000, 500_000


def draw_truth(rng: np.random.Generator) -> GroundTruth:
    """Boxes on images of 640 x 480, 1 % of them crowds."""
    share = 1 / np.arange(1, CATEGORIES + 1)
    image = 1 + np.minimum((rng.exponential(size=OBJECTS) * IMAGES / 3).astype(int), IMAGES - 1)
    image = 1 + (image * 7919) % IMAGES
    size = np.exp(rng.uniform(np.log(10), np.log(250), (OBJECTS, 2)))
    corner = rng.uniform(0, 1, (OBJECTS, 2)) * np.maximum([640, 480] - size, 1)
    annotations = pd.DataFrame(
        {
            "id": np.arange(1, OBJECTS + 1),
            "image_id": image,
            "category_id": rng.choice(CATEGORIES, OBJECTS, p=share / share.sum()) + 1,
            **dict(zip("xywh", np.c_[corner, size].T, strict=True)),
            "area": size.prod(axis=1) * rng.uniform(0.4, 1, OBJECTS),
            "iscrowd": rng.random(OBJECTS) < 0.01,
        }
    )
    return GroundTruth(
        pd.DataFrame({"id": np.arange(1, IMAGES + 1), "width": 640, "height": 480}),
        annotations,
        pd.DataFrame({"id": np.arange(1, CATEGORIES + 1), "name": [f"c{i}" for i in range(CATEGORIES)]}),
    )


def draw_detections(truth: GroundTruth, rng: np.random.Generator, noise: float) -> pd.DataFrame:
    """Two jittered boxes for each object, the other detections anywhere."""
    objects = truth.annotations.sample(frac=1, random_state=int(rng.integers(1 << 31)))
    near = pd.concat([objects.iloc[: int(0.9 * len(objects))], objects], ignore_index=True)
    boxes = near[["x", "y", "w", "h"]].to_numpy()
    boxes = boxes + rng.normal(0, noise, boxes.shape) * boxes[:, [2, 3, 2, 3]]
    n_far = DETECTIONS - len(near)
    far = np.c_[rng.uniform(0, 400, (n_far, 2)), np.exp(rng.uniform(np.log(10), np.log(250), (n_far, 2)))]
    category = np.r_[near["category_id"], rng.choice(truth.annotations["category_id"], n_far)]
    frame = pd.DataFrame(
        {
            "image_id": np.r_[near["image_id"], rng.integers(1, IMAGES + 1, n_far)],
            "category_id": category,
            "score": np.r_[rng.beta(2, 2, len(near)), rng.beta(1, 8, n_far)],
        }
    )
    frame[list("xywh")] = np.r_[boxes, far]
    frame[["w", "h"]] = frame[["w", "h"]].clip(lower=1)
    return frame


def ours(truth: GroundTruth, pair: list[pd.DataFrame], replicates: int) -> dict[str, Any]:
    """Matching and paired replicates with the suite."""
    start = time.perf_counter()
    matches = [match(truth, detections) for detections in pair]
    matched = time.perf_counter() - start
    weights = resample(len(truth.images), replicates, seed=0)
    aps = [np.nanmean(WeightedAP(one)(weights), axis=(1, 2)) for one in matches]
    return {"matching": matched, "difference": float(np.mean(aps[1] - aps[0]))}


def hotcoco_compare(truth: GroundTruth, pair: list[pd.DataFrame], replicates: int) -> dict[str, Any]:
    """The same with hotcoco's own bootstrap, which resamples all twelve numbers."""
    import hotcoco

    annotations = truth.annotations
    evaluations = []
    for detections in pair:
        expected = hotcoco.COCO.from_arrays(
            truth.images.to_dict("records"),
            truth.categories.to_dict("records"),
            annotations["image_id"].to_numpy(),
            annotations["category_id"].to_numpy(),
            annotations[["x", "y", "w", "h"]].to_numpy(),
            ids=annotations["id"].to_numpy(),
            area=annotations["area"].to_numpy(),
            iscrowd=annotations["iscrowd"].to_numpy(dtype=np.int64),
        )
        columns = ["image_id", "x", "y", "w", "h", "score", "category_id"]
        found = expected.load_res(np.ascontiguousarray(detections[columns].to_numpy(dtype=np.float64)))
        evaluations.append(hotcoco.COCOeval(expected, found, "bbox"))
        evaluations[-1].evaluate()
    result = hotcoco.compare(*evaluations, n_bootstrap=replicates)
    return {"metrics": len(result["metric_keys"]), "difference": result["deltas"]["AP"]}


def child(pipe: Any, run: Callable[..., dict[str, Any]] | None, seed: int, replicates: int) -> None:
    """Draw the problem, run one arm and send wall and processor seconds and peak memory."""
    rng = np.random.default_rng(seed)
    truth = draw_truth(rng)
    pair = [draw_detections(truth, rng, noise) for noise in (0.10, 0.09)]
    start, used = time.perf_counter(), time.process_time()
    found = run(truth, pair, replicates) if run else {}
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send({"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_mb": round(peak), **found})


def measure(run: Callable[..., dict[str, Any]] | None, replicates: int) -> dict[str, Any]:
    """Run one arm in a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=child, args=(there, run, 0, replicates))
    process.start()
    there.close()
    found = here.recv()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--only", choices=("ours", "hotcoco"))
    arguments = parser.parse_args()
    result = {"problem only": measure(None, 0)}
    if arguments.only != "hotcoco":
        result["suite"] = measure(ours, arguments.replicates)
    if arguments.only != "ours":
        result["hotcoco.compare"] = measure(hotcoco_compare, arguments.replicates)
    result |= {
        "replicates": arguments.replicates,
        "machine": f"{platform.processor() or platform.machine()}, {cpu_count():g} cores",
        "python": platform.python_version(),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
