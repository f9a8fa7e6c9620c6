"""What the losses of the heads cost, beside mmdet's own heads in the same process.

Inputs are at COCO scale: 2 images of 800 x 1344 pixels, 80 classes, maps as a network gives them early in
training, 15 and 100 objects an image. Times are medians of forward and backward of the loss alone, the heads
taking turns; with --steps, of whole training steps with ResNet-50 instead. On a CPU with one thread these are
CPU seconds, which other work on the machine stretches little. Prints JSON.

    python benchmarks/detectors.py [--device cuda] [--repeats 7]
    python benchmarks/detectors.py --steps retinanet_500,alrp_retinanet --size 512 512
"""

import argparse
import itertools
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from sklearn.mixture import GaussianMixture
from torch import Tensor

import suite.detectors
import suite.training
from suite.detectors.gaussian_mixture import fit_mixtures

METHODS = Path(suite.detectors.__file__).parent.parent / "configs" / "methods"
HEIGHT, WIDTH, CLASSES, IMAGES = 800, 1344, 80, 2
SIZES = [(-(-HEIGHT // stride), -(-WIDTH // stride)) for stride in (8, 16, 32, 64, 128)]


def config_of(method: str) -> Any:
    return Config.fromfile(METHODS / f"{method}.py", import_custom_modules=False).model


def head_of(model: Any, **changes: Any) -> Any:
    settings = dict(model.bbox_head, train_cfg=model.get("train_cfg"), test_cfg=model.test_cfg)
    return MODELS.build({**settings, **changes})


def heads() -> dict[str, Any]:
    """The suite's heads and mmdet's peers, by name."""
    retina, anchor, atss, paa = (config_of(name) for name in ("retinanet", "free_anchor", "atss", "paa"))
    thresholds = dict(
        type="MaxIoUAssigner", pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0, ignore_iof_thr=-1
    )
    padding = dict(allowed_border=-1, pos_weight=-1, debug=False)
    atss_settings = {key: value for key, value in atss.bbox_head.items() if key != "auxiliary"}
    paa_settings = {
        key: value
        for key, value in paa.bbox_head.items()
        if key not in ("type", "auxiliary", "scoring_weight", "separation", "fixed_number", "fixed_score")
    }
    focal = ("bag_size", "iou_threshold", "loss_cls")
    anchor_settings = {key: value for key, value in anchor.bbox_head.items() if key not in focal}
    return {
        "mmdet RetinaHead": head_of(retina),
        "mmdet FreeAnchorRetinaHead": MODELS.build(
            dict(anchor_settings, type="FreeAnchorRetinaHead", test_cfg=anchor.test_cfg)
        ),
        "FreeAnchorHead": head_of(anchor),
        "LTMHead": head_of(config_of("ltm")),
        "LTMAFHead": head_of(config_of("ltm_af")),
        "mmdet ATSSHead": MODELS.build(
            dict(
                atss_settings,
                type="ATSSHead",
                train_cfg=dict(atss.train_cfg, **padding),
                test_cfg=atss.test_cfg,
            )
        ),
        "mmdet PAAHead": MODELS.build(
            dict(
                paa_settings,
                type="PAAHead",
                reg_decoded_bbox=True,
                train_cfg=dict(assigner=thresholds, **padding),
                test_cfg=paa.test_cfg,
            )
        ),
        "OneAnchorHead": head_of(atss),
        "BatchedPAAHead": head_of(paa),
    }


def objects(
    count: int, seed: int, device: str, size: tuple[int, int] = (HEIGHT, WIDTH)
) -> list[InstanceData]:
    """``count`` objects an image, their sides log-uniform between 12 and 500 pixels."""
    generator = torch.Generator().manual_seed(seed)
    result = []
    for _ in range(IMAGES):
        sides = 12 * (500 / 12) ** torch.rand(count, 2, generator=generator)
        limit = torch.tensor(size[::-1])
        corner = torch.rand(count, 2, generator=generator) * (limit - sides).clamp(min=0)
        labels = torch.randint(0, CLASSES, (count,), generator=generator)
        boxes = torch.cat([corner, corner + sides], dim=1)
        result.append(InstanceData(bboxes=boxes.to(device), labels=labels.to(device)))
    return result


def maps_of(head: Any, device: str) -> list[list[Tensor]]:
    """Random maps for a head: logits around the prior 0.01, boxes near their anchors."""
    generator = torch.Generator().manual_seed(1)
    slots = head.num_base_priors if hasattr(head, "num_base_priors") else 1

    def random(channels: int, mean: float, spread: float) -> list[Tensor]:
        return [
            (torch.randn(IMAGES, channels, *size, generator=generator) * spread + mean)
            .to(device)
            .requires_grad_()
            for size in SIZES
        ]

    maps = [random(slots * CLASSES, -4.6, 0.7)]
    distances = type(head).__name__ == "LTMAFHead"
    maps.append(random(4, 4.0, 0.5) if distances else random(slots * 4, 0.0, 0.5))
    if hasattr(head, "atss_centerness"):
        maps.append(random(1, 0.0, 0.5))
    return maps


def measure(turns: dict[str, Callable[[], None]], repeats: int, device: str) -> dict[str, float]:
    """Median seconds of each, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    for repeat in range(repeats + 1):
        for name, turn in turns.items():
            if device == "cuda":
                torch.cuda.synchronize()
            started = clock()
            turn()
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat:
                seconds[name].append(clock() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_mb(turn: Callable[[], None], device: str) -> float:
    """Peak of the memory that ``turn`` holds beyond what was held before, in MiB."""
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        turn()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as record:
        turn()
    held = peak = 0
    for event in sorted(record.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak / 2**20


def losses(repeats: int, device: str) -> dict[str, Any]:
    metas = [dict(img_shape=(HEIGHT, WIDTH), pad_shape=(HEIGHT, WIDTH), scale_factor=(1.0, 1.0))] * IMAGES
    built = {name: head.to(device) for name, head in heads().items()}
    maps = {name: maps_of(head, device) for name, head in built.items()}

    def turn(name: str, instances: list[InstanceData]) -> Callable[[], None]:
        def once() -> None:
            found = built[name].loss_by_feat(*maps[name], instances, metas)
            leaves = list(itertools.chain.from_iterable(maps[name]))
            total = sum(sum(value) if isinstance(value, list) else value for value in found.values())
            torch.autograd.grad(total, leaves, allow_unused=True)

        return once

    result: dict[str, Any] = {}
    for count in (15, 100):
        turns = {name: turn(name, objects(count, 0, device)) for name in built}
        result[f"seconds_{count}_objects"] = measure(turns, repeats, device)
        result[f"peak_mb_{count}_objects"] = {name: peak_mb(once, device) for name, once in turns.items()}
    return result


def mixtures(device: str) -> dict[str, float]:
    """200 sets of 45 losses, fitted together and by scikit-learn one by one."""
    rng = np.random.default_rng(0)
    low = rng.random((200, 45)) < 0.35
    values = np.where(low, rng.normal(1.0, 0.25, low.shape), rng.normal(2.6, 0.5, low.shape))
    tensor = torch.from_numpy(values).to(device)

    def one_by_one() -> None:
        for row in values:
            GaussianMixture(
                2,
                weights_init=[0.5, 0.5],
                means_init=[[row.min()], [row.max()]],
                precisions_init=[[[1.0]], [[1.0]]],
            ).fit(row[:, None])

    def together() -> None:
        fit_mixtures(tensor, torch.ones_like(tensor, dtype=torch.bool))

    return measure({"scikit-learn": one_by_one, "fit_mixtures": together}, 5, device)


def ranking(repeats: int, device: str) -> dict[str, Any]:
    """aLRP Loss on RetinaNet's head, against the focal loss of mmdet's and the loop over positives."""
    metas = [dict(img_shape=(HEIGHT, WIDTH), pad_shape=(HEIGHT, WIDTH), scale_factor=(1.0, 1.0))] * IMAGES
    built = {
        "mmdet RetinaHead": head_of(config_of("retinanet")).to(device),
        "RankingRetinaHead": head_of(
            config_of("alrp_retinanet"), anchor_generator=config_of("retinanet").bbox_head.anchor_generator
        ).to(device),
    }
    maps = {name: maps_of(head, device) for name, head in built.items()}

    def turn(name: str, instances: list[InstanceData]) -> Callable[[], None]:
        def once() -> None:
            found = built[name].loss_by_feat(*maps[name], instances, metas)
            total = sum(sum(value) if isinstance(value, list) else value for value in found.values())
            torch.autograd.grad(total, list(itertools.chain.from_iterable(maps[name])), allow_unused=True)

        return once

    result: dict[str, Any] = {}
    for count in (15, 100):
        turns = {name: turn(name, objects(count, 0, device)) for name in built}
        result[f"seconds_{count}_objects"] = measure(turns, repeats, device)
        result[f"peak_mb_{count}_objects"] = {name: peak_mb(once, device) for name, once in turns.items()}
    head, scores = built["RankingRetinaHead"], maps["RankingRetinaHead"]
    batch = head.ranked(*scores, objects(15, 0, device))
    result["positives_15_objects"] = len(batch.pairs)
    result["seconds_15_objects"]["loop over positives"] = loop_over_positives(batch, device)
    return result


@torch.no_grad()
def loop_over_positives(batch: Any, device: str, timed: int = 6) -> float:
    """Seconds of the released way to compute aLRP's update: each positive against all relevant logits.

    Written from the equations. Every positive costs the same, so some are timed and the rest reckoned.
    """
    flat = torch.cat([level.flatten() for level in batch.maps])
    negative = torch.ones(len(flat), dtype=torch.bool, device=device)
    if batch.ignored is not None:
        dense = [flags[:, None].expand(-1, CLASSES, -1).flatten() for flags in batch.ignored]
        negative = ~torch.cat(dense)
    negative[batch.pairs] = False
    positives = flat[batch.pairs]
    losses = torch.rand(len(positives), device=device)
    started = time.perf_counter()
    relevant = flat[negative & (flat >= positives.min() - 1)]
    update = torch.zeros_like(relevant)
    once = time.perf_counter() - started
    started = time.perf_counter()
    for index in range(timed):
        above = ((positives - positives[index]) / 2 + 0.5).clamp(0, 1)
        above[index] = 0
        false = ((relevant - positives[index]) / 2 + 0.5).clamp(0, 1)
        rank = 1 + above.sum() + false.sum()
        size = ((above * losses).sum() + false.sum()) / rank
        update += false * (size / false.sum())
    if device == "cuda":
        torch.cuda.synchronize()
    return once + (time.perf_counter() - started) / timed * len(positives)


def steps(methods: list[str], size: tuple[int, int], repeats: int, device: str) -> dict[str, float]:
    """Whole training steps of methods with ResNet-50, 2 images of ``size`` (height, width)."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(IMAGES, 3, *size, generator=generator).to(device)
    samples = []
    for instances in objects(15, 0, device, size):
        sample = DetDataSample(
            metainfo=dict(img_shape=size, pad_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = instances
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4, device=device), labels=torch.zeros(0, dtype=torch.long, device=device)
        )
        samples.append(sample)

    def turn(method: str) -> Callable[[], None]:
        model_config = config_of(method)
        model_config.backbone.init_cfg = None
        model = MODELS.build(model_config).to(device).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

        def once() -> None:
            optimizer.zero_grad()
            model.parse_losses(model.loss(images, samples))[0].backward()
            optimizer.step()

        return once

    return measure({name: turn(name) for name in methods}, repeats, device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--steps", default="", help="Methods; the first is the one that others are divided by."
    )
    parser.add_argument("--size", type=int, nargs=2, default=(HEIGHT, WIDTH), help="Of the steps' images.")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    init_default_scope("mmdet")
    result: dict[str, Any] = dict(
        device=torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "cpu",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
    )
    result |= of_steps(options) if options.steps else of_losses(options.repeats, options.device)
    print(json.dumps(result, indent=2))


def of_steps(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of training steps, and their ratios to the first method's."""
    first, *others = methods = options.steps.split(",")
    seconds = steps(methods, tuple(options.size), options.repeats, options.device)
    return {
        "step_size": options.size,
        "step_seconds": seconds,
        "ratios": {f"training step, {one} / {first}": seconds[one] / seconds[first] for one in others},
    }


def of_losses(repeats: int, device: str) -> dict[str, Any]:
    """Seconds, memory and ratios of the losses alone."""
    result = losses(repeats, device)
    few, many = result["seconds_15_objects"], result["seconds_100_objects"]
    memory = result["peak_mb_15_objects"]
    fits = mixtures(device)
    retina, atss = "mmdet RetinaHead", "mmdet ATSSHead"
    result["ratios"] = {
        "FreeAnchor / RetinaHead": few["FreeAnchorHead"] / few[retina],
        "LTM / RetinaHead": few["LTMHead"] / few[retina],
        "mmdet FreeAnchor / RetinaHead": few["mmdet FreeAnchorRetinaHead"] / few[retina],
        "FreeAnchor, 100 / 15 objects": many["FreeAnchorHead"] / few["FreeAnchorHead"],
        "LTM, 100 / 15 objects": many["LTMHead"] / few["LTMHead"],
        "mmdet FreeAnchor, 100 / 15 objects": many["mmdet FreeAnchorRetinaHead"]
        / few["mmdet FreeAnchorRetinaHead"],
        "PAA / ATSSHead": few["BatchedPAAHead"] / few[atss],
        "mmdet PAA / ATSSHead": few["mmdet PAAHead"] / few[atss],
        "PAA, 100 / 15 objects": many["BatchedPAAHead"] / few["BatchedPAAHead"],
        "mmdet PAA, 100 / 15 objects": many["mmdet PAAHead"] / few["mmdet PAAHead"],
        "OneAnchorHead / ATSSHead": few["OneAnchorHead"] / few[atss],
        "LTM-AF / ATSSHead": few["LTMAFHead"] / few[atss],
        "scikit-learn / fit_mixtures, 200 objects": fits["scikit-learn"] / fits["fit_mixtures"],
        "peak memory, FreeAnchor / RetinaHead": memory["FreeAnchorHead"] / memory[retina],
        "peak memory, LTM / RetinaHead": memory["LTMHead"] / memory[retina],
        "peak memory, PAA / ATSSHead": memory["BatchedPAAHead"] / memory[atss],
    }
    ranked = result["ranking"] = ranking(repeats, device)
    few, many = ranked["seconds_15_objects"], ranked["seconds_100_objects"]
    memory, own = ranked["peak_mb_15_objects"], "RankingRetinaHead"
    result["ratios"] |= {
        "loop over positives / aLRP": few["loop over positives"] / few[own],
        "aLRP / RetinaHead": few[own] / few[retina],
        "aLRP, 100 / 15 objects": many[own] / few[own],
        "peak memory, aLRP / RetinaHead": memory[own] / memory[retina],
    }
    return result


if __name__ == "__main__":
    main()
