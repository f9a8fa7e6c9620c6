"""What COCO AP on every slice costs, beside one hotcoco pass and beside pycocotools and faster-coco-eval.

The problem is of val2017's size: 5,000 images, 80 categories, 36,000 objects and 500,000 detections, drawn
from a fixed seed: detections around objects, in part of another category, and false positives. Each arm has a
process of its own, reads the same frames, and is timed from frames to numbers; of the peers only evaluate and
accumulate are. The tables' slices are all images and the bins of objects, sparsity and crowdedness; finding
each image's bins is timed too. Prints JSON.

    python benchmarks/evaluation.py [--repeats 3] [--peers pycocotools,faster-coco-eval]

faster-coco-eval is no dependency of the suite; without it, its arm is left out.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suite.evaluation.coco_ap import evaluate_slices
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.slices import DIMENSIONS, image_slices
from suite.machine import cpu_count

IMAGES, CATEGORIES, OBJECTS, DETECTIONS = 5_000, 80, 36_000, 500_000
TABLES = ("objects", "sparsity", "crowdedness")
PEERS = {"pycocotools": "pycocotools", "faster-coco-eval": "faster_coco_eval"}


def draw(folder: Path) -> None:
    """Write the problem: ``truth.parquet`` and ``detections.parquet``."""
    rng = np.random.default_rng(0)

    def boxes(n: int) -> np.ndarray[Any, Any]:
        size = np.exp(rng.uniform(np.log(8), np.log(300), (n, 2)))
        return np.c_[rng.uniform(0, 1, (n, 2)) * np.maximum([640, 480] - size, 1), size]

    weights = rng.lognormal(0, 1, IMAGES)
    image = rng.choice(IMAGES, OBJECTS, p=weights / weights.sum()) + 1
    frequency = 1 / np.arange(1, CATEGORIES + 1) ** 0.8
    category = rng.choice(CATEGORIES, OBJECTS, p=frequency / frequency.sum()) + 1
    place = boxes(OBJECTS)
    truth = pd.DataFrame(place, columns=list("xywh")).assign(
        id=np.arange(1, OBJECTS + 1), image_id=image, category_id=category,
        area=0.7 * place[:, 2] * place[:, 3], iscrowd=rng.random(OBJECTS) < 0.01,
    )  # fmt: skip
    near = DETECTIONS * 6 // 10
    false = DETECTIONS - near
    source = rng.integers(0, OBJECTS, near)
    found = place[source] + rng.normal(0, 0.12, (near, 4)) * np.tile(place[source, 2:], 2)
    found[:, 2:] = np.maximum(found[:, 2:], 2)
    right = rng.random(near) < 0.9
    classes = np.where(right, category[source], rng.integers(1, CATEGORIES + 1, near))
    detections = pd.DataFrame(np.r_[found, boxes(false)], columns=list("xywh")).assign(
        image_id=np.r_[image[source], rng.integers(1, IMAGES + 1, false)],
        category_id=np.r_[classes, rng.integers(1, CATEGORIES + 1, false)],
        score=np.r_[rng.beta(2, 2, near), rng.beta(1, 5, false)],
    )
    truth.to_parquet(folder / "truth.parquet")
    detections.sample(frac=1, random_state=0, ignore_index=True).to_parquet(folder / "detections.parquet")


def load(folder: Path) -> tuple[GroundTruth, pd.DataFrame]:
    ids = np.arange(1, IMAGES + 1)
    categories = np.arange(1, CATEGORIES + 1)
    truth = GroundTruth(
        images=pd.DataFrame({"id": ids, "width": 640, "height": 480}),
        annotations=pd.read_parquet(folder / "truth.parquet"),
        categories=pd.DataFrame({"id": categories, "name": [f"c{one}" for one in categories]}),
    )
    return truth, pd.read_parquet(folder / "detections.parquet")


def slices_of(truth: GroundTruth, dimensions: tuple[str, ...]) -> dict[str, list[int]]:
    """All images, and each bin that has any."""
    found = {"all": truth.images["id"].tolist()}
    for dimension in dimensions:
        bins = image_slices(truth, dimension).items()
        found |= {f"{dimension}={label}": sorted(images) for label, images in bins if images}
    return found


class Clock:
    """Adds up wall time and processor time, in seconds, of what runs in its ``with`` blocks."""

    wall = cpu = 0.0

    def __enter__(self) -> None:
        self.wall, self.cpu = self.wall - time.perf_counter(), self.cpu - time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = self.wall + time.perf_counter(), self.cpu + time.process_time()


Timed = tuple[Clock, dict[str, float]]
"""Time, and AP of each slice."""


def suite_arm(truth: GroundTruth, detections: pd.DataFrame, dimensions: tuple[str, ...]) -> Timed:
    clock = Clock()
    with clock:
        found = evaluate_slices(truth, detections, slices_of(truth, dimensions))
    return clock, {name: one.metrics["AP"] or 0.0 for name, one in found.items()}


def hotcoco_arm(truth: GroundTruth, detections: pd.DataFrame, _: tuple[str, ...]) -> Timed:
    """One plain pass over all images, by its fastest way in: arrays."""
    import hotcoco

    images, categories = (frame.to_dict("records") for frame in (truth.images, truth.categories))
    clock = Clock()
    with clock:
        boxes = truth.annotations
        expected = hotcoco.COCO.from_arrays(
            images, categories, boxes["image_id"].to_numpy(), boxes["category_id"].to_numpy(),
            boxes[list("xywh")].to_numpy(), ids=boxes["id"].to_numpy(), area=boxes["area"].to_numpy(),
            iscrowd=boxes["iscrowd"].to_numpy(dtype=np.int64),
        )  # fmt: skip
        columns = ["image_id", *"xywh", "score", "category_id"]
        found = expected.load_res(np.ascontiguousarray(detections[columns].to_numpy(dtype=np.float64)))
        evaluation = hotcoco.COCOeval(expected, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        precision = np.asarray(evaluation.eval["precision"])[..., 0, 2]
        ap = float(precision[precision > -1].mean())
    return clock, {"all": ap}


def peer_arm(peer: str, truth: GroundTruth, detections: pd.DataFrame, dimensions: tuple[str, ...]) -> Timed:
    """A fresh evaluation of each slice; only evaluate and accumulate are timed."""
    if peer == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval

    def dataset(images: list[int], boxes: pd.DataFrame) -> Any:
        boxes = boxes[boxes["image_id"].isin(images)]
        records = boxes.drop(columns=list("xywh")).to_dict("records")
        for record, box in zip(records, boxes[list("xywh")].to_numpy().tolist(), strict=True):
            record |= {"bbox": box, "iscrowd": int(record["iscrowd"])}
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image, "width": 640, "height": 480} for image in images],
            "categories": truth.categories.to_dict("records"),
            "annotations": records,
        }
        coco.createIndex()
        return coco

    found = detections.assign(
        id=np.arange(1, len(detections) + 1), area=detections["w"] * detections["h"], iscrowd=0
    )
    clock, aps = Clock(), {}
    for name, images in slices_of(truth, dimensions).items():
        with contextlib.redirect_stdout(io.StringIO()):
            expected, got = dataset(images, truth.annotations), dataset(images, found)
            with clock:
                evaluation = COCOeval(expected, got, "bbox")
                evaluation.evaluate()
                evaluation.accumulate()
        precision = evaluation.eval["precision"][..., 0, 2]
        aps[name] = float(precision[precision > -1].mean())
    return clock, aps


ARMS: dict[str, Callable[[GroundTruth, pd.DataFrame, tuple[str, ...]], Timed]] = {
    "suite": suite_arm,
    "suite, every dimension": lambda truth, found, _: suite_arm(truth, found, tuple(DIMENSIONS)),
    "hotcoco, one pass": hotcoco_arm,
    "pycocotools": lambda *given: peer_arm("pycocotools", *given),
    "faster-coco-eval": lambda *given: peer_arm("faster-coco-eval", *given),
}


def measure(arm: str, folder: Path, repeats: int) -> dict[str, Any]:
    """Run an arm in this process."""
    truth, detections = load(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    runs = [ARMS[arm](truth, detections, TABLES) for _ in range(repeats)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": statistics.median(clock.wall for clock, _ in runs),
        "cpu_seconds": statistics.median(clock.cpu for clock, _ in runs),
        "runs": [clock.wall for clock, _ in runs],
        "peak_rss_mb": peak,
        "rss_mb_before": before,
        "AP": runs[0][1],
    }


def ratios(results: dict[str, dict[str, Any]], peers: list[str], kind: str) -> dict[str, float]:
    """Of wall time or of processor time; on a busy machine the second tells more."""
    of = {arm: result[kind] for arm, result in results.items()}
    return {
        "suite / one hotcoco pass": of["suite"] / of["hotcoco, one pass"],
        "suite, every dimension / one hotcoco pass": of["suite, every dimension"] / of["hotcoco, one pass"],
        **{f"{peer} / suite": of[peer] / of["suite"] for peer in peers},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="of the quick arms; the peers run once")
    parser.add_argument("--peers", default=",".join(PEERS), help="of pycocotools, faster-coco-eval; or none")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.arm:
        print(json.dumps(measure(arguments.arm, arguments.folder, arguments.repeats)))
        return
    peers = [name for name in arguments.peers.split(",") if name in PEERS]
    for name in [name for name in peers if importlib.util.find_spec(PEERS[name]) is None]:
        print(f"{name} is not installed: its arm is left out", file=sys.stderr)
        peers.remove(name)
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        draw(Path(temporary))
        for arm in ("suite", "suite, every dimension", "hotcoco, one pass", *peers):
            repeats = 1 if arm in PEERS else arguments.repeats
            command = [
                sys.executable,
                __file__,
                "--arm",
                arm,
                "--folder",
                temporary,
                "--repeats",
                str(repeats),
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[arm] = json.loads(done.stdout)
            print(
                "{}: {seconds:.2f} s, {cpu_seconds:.2f} s of a core".format(arm, **results[arm]),
                file=sys.stderr,
            )
    aps = {arm: result.pop("AP") for arm, result in results.items()}
    summary = {
        "problem": {"images": IMAGES, "categories": CATEGORIES, "objects": OBJECTS, "detections": DETECTIONS},
        "slices": {"suite": len(aps["suite"]), "every dimension": len(aps["suite, every dimension"])},
        "machine": {"cores": int(cpu_count()), "processor": platform.processor() or platform.machine()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("hotcoco", "pandas", *peers)},
        },
        "arms": results,
        "ratios": {kind: ratios(results, peers, kind) for kind in ("seconds", "cpu_seconds")},
        "largest difference in AP": max(
            abs(aps["suite"][name] - value)
            for arm in ("hotcoco, one pass", *peers)
            for name, value in aps[arm].items()
        ),
    }
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
