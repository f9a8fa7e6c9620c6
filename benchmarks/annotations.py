"""What COCO's training annotations cost a process in memory and time, beside mmdet's CocoDataset.

    python benchmarks/annotations.py [--images 118287] [--objects 860001]

Writes an annotation file of the size of instances_train2017.json, polygons included, to a temporary folder,
and loads it with both in turns, each in a process of its own. Peak and held memory are those that the process
has beyond what it had once everything was imported. Prints JSON.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KINDS = ("CocoDataset", "SeededCocoDataset")


def write_annotations(path: Path, images: int, objects: int) -> None:
    """A file like COCO's: ``objects`` boxes with polygons of 20 to 90 numbers in ``images`` images."""
    rng = random.Random(0)
    polygons = [
        json.dumps([[round(rng.uniform(0, 640), 2) for _ in range(rng.randint(20, 90))]]) for _ in range(500)
    ]
    with path.open("w") as stream:
        stream.write('{"info": {}, "licenses": [], "images": [')
        for image in range(images):
            entry = {
                "license": 1, "file_name": f"{image:012d}.jpg", "id": image + 1, "width": 640, "height": 480,
                "coco_url": f"http://images.cocodataset.org/train2017/{image:012d}.jpg",
                "date_captured": "2013-11-14 17:02:52",
                "flickr_url": f"http://farm9.staticflickr.com/8186/{image:010d}_ab_z.jpg",
            }  # fmt: skip
            stream.write((", " if image else "") + json.dumps(entry))
        stream.write('], "annotations": [')
        for number in range(objects):
            x, y, w, h = (round(rng.uniform(1, 300), 2) for _ in range(4))
            stream.write(
                f'{", " if number else ""}{{"segmentation": {rng.choice(polygons)}, "area": {w * h:.4f}, '
                f'"iscrowd": 0, "image_id": {rng.randint(1, images)}, "bbox": [{x}, {y}, {w}, {h}], '
                f'"category_id": {rng.randint(1, 80)}, "id": {number + 1}}}'
            )
        names = [{"supercategory": "thing", "id": number, "name": f"c{number}"} for number in range(1, 81)]
        stream.write('], "categories": ' + json.dumps(names) + "}")


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def load(kind: str, path: str) -> dict[str, float]:
    """Time and memory of one of the datasets, and of 1,000 entries of it."""
    from mmdet.registry import DATASETS
    from mmengine.registry import init_default_scope

    import suite.training  # noqa: F401

    init_default_scope("mmdet")
    before = resident_mb()
    started = time.perf_counter()
    dataset = DATASETS.build(
        {
            "type": kind, "ann_file": path, "data_prefix": {"img": ""}, "pipeline": [],
            "metainfo": {"classes": [f"c{number}" for number in range(1, 81)]},
            "filter_cfg": {"filter_empty_gt": True, "min_size": 32},
            **({"seed": 0} if kind == "SeededCocoDataset" else {}),
        }
    )  # fmt: skip
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    held = resident_mb()
    started = time.perf_counter()
    for index in range(1000):
        dataset.get_data_info(index)
    return {
        "seconds": round(seconds, 1),
        "peak_mb": round(peak - before),
        "held_mb": round(held - before),
        "entry_microseconds": round((time.perf_counter() - started) * 1000, 1),
        "images": len(dataset),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--objects", type=int, default=860_001)
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        print(json.dumps(load(*options.load)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "instances.json")
        write_annotations(path, options.images, options.objects)
        found: dict[str, Any] = {"file_mb": round(path.stat().st_size / 2**20)}
        for kind in KINDS:
            command = [sys.executable, __file__, "--load", kind, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[kind] = json.loads(done.stdout.splitlines()[-1])
    theirs, ours = (found[kind] for kind in KINDS)
    found["mmdet / suite"] = {
        key: round(theirs[key] / ours[key], 2)
        for key in ("seconds", "peak_mb", "held_mb", "entry_microseconds")
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
