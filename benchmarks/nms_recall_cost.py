"""What NMS recall costs an evaluation: the suite's loop with and without measuring coverage, in turns.

    python benchmarks/nms_recall_cost.py [RUN_DIR ...] [--repeats 3]

Each run directory is a finished run, whose detector evaluates its validation images again; nothing is written
there. Besides, at COCO's scale: an image of 800 x 1344 through LTM with ResNet-50 and its NMS, against the
coverage of 7 objects by 2,000 candidates of random maps.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from detectors import HEIGHT, SIZES, WIDTH, config_of, objects
from mmdet.registry import MODELS
from mmengine.registry import RUNNERS, init_default_scope

from suite.inference import candidates
from suite.inference.coverage import coverage
from suite.runs.directory import RunDirectory
from suite.training.worker import load_config


def seconds(run: RunDirectory, covered: bool) -> float:
    """Seconds of one evaluation, the detector being loaded."""
    config = load_config(run, "none")
    config.load_from = str(run.checkpoint_file.resolve())
    config.custom_hooks = []
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir = folder
        runner = RUNNERS.build(config)
        runner.load_or_resume()
        if not covered:
            runner.test_loop.head = None
        runner.test()  # the first one also fills caches
        started = time.perf_counter()
        runner.test()
        return time.perf_counter() - started


def at_cocos_scale(repeats: int) -> dict[str, float]:
    """Seconds of an image's inference and of its coverage."""
    init_default_scope("mmdet")
    config = config_of("ltm")
    config.backbone.init_cfg = None
    model = MODELS.build(config).eval()
    head, image = model.bbox_head, torch.randn(1, 3, HEIGHT, WIDTH)
    generator = torch.Generator().manual_seed(0)
    outs = tuple(
        [torch.randn(1, channels, *size, generator=generator) * spread + mean for size in SIZES]
        for channels, spread, mean in ((720, 0.7, -5.5), (36, 0.5, 0.0))
    )
    meta = dict(img_shape=(HEIGHT, WIDTH), ori_shape=(HEIGHT, WIDTH), scale_factor=(1.0, 1.0))
    thing = objects(7, 0, "cpu")[0]
    inference, covering, found = [], [], 0
    with torch.no_grad():
        for _ in range(repeats + 1):
            started = time.perf_counter()
            head(model.extract_feat(image))
            detections = head.predict_by_feat(*outs, batch_img_metas=[meta], rescale=True)[0]
            inference.append(time.perf_counter() - started)
            started = time.perf_counter()
            one = candidates(head, outs, [meta])[0]
            coverage(one, detections, thing.bboxes, thing.labels, head.test_cfg)
            covering.append(time.perf_counter() - started)
            found = len(one)
    plain, added = statistics.median(inference[1:]), statistics.median(covering[1:])
    ratio = 1 + added / plain
    return {"seconds without": plain, "with coverage / without": round(ratio, 3), "candidates": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "torch": torch.__version__, "python": platform.python_version(),
        "COCO's scale": at_cocos_scale(options.repeats), "ratios": {},
    }  # fmt: skip
    for path in options.runs:
        run = RunDirectory(path)
        times: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(options.repeats):
            for covered, found in times.items():
                found.append(seconds(run, covered))
        plain, covered = (statistics.median(found) for found in times.values())
        result["ratios"][run.spec()["method"]] = {
            "with coverage / without": round(covered / plain, 3), "seconds without": round(plain, 2)
        }  # fmt: skip
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
