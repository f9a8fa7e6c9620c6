"""What one GPU trains of each core method a second, beside mmdet's own RetinaNet in the same sitting.

    python benchmarks/gpu.py [--out FOLDER] [--minutes 10]
    python benchmarks/gpu.py --rehearse

R-50 with 2 images a step, resized from COCO's usual shapes to 800 x 1333; no COCO is needed. Exact training
and FAST=1, with and without torch.compile; the share of the loss; operations that wait for the GPU, counted
by torch's profiler; peak memory; images that one core decodes; the cost of NMS recall. Cases take turns until
the minutes are over; what is left out then is named. Writes gpu.json and gpu.md into the folder.

``--rehearse`` does the same with tiny images, R-18 and few steps on any machine, without compiling: every
line has then been run, and the numbers mean nothing.
"""

import argparse
import itertools
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import mmcv
import mmdet
import numpy as np
import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch.profiler import ProfilerActivity, profile

import suite.detectors
import suite.inference
import suite.training  # noqa: F401
from suite.data.dataset import Dataset, Split
from suite.inference.candidates import candidates
from suite.inference.coverage import coverage
from suite.machine import git_commit
from suite.runs.fast import make_fast
from suite.runs.resolve import resolve
from suite.runs.spec import RunSpec

CORE = ("retinanet", "free_anchor", "ltm", "ltm_af", "paa", "atss")
STOCK = "mmdet RetinaNet"
SHAPES = ((800, 1066), (800, 1199), (1066, 800), (800, 1333))
"""Height and width of COCO's usual photos as they are trained."""
OBJECTS = 7
"""Objects on an image of COCO's, on average."""
WAITS = (
    "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "aten::_local_scalar_dense",
    "aten::nonzero", "aten::_unique2",
)  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """How much is done: for real, or to rehearse."""

    device: str
    shapes: tuple[tuple[int, int], ...]
    warm_up: int
    steps: int
    repeats: int
    photos: int
    compiles: bool


REAL = Scale("cuda", SHAPES, 8, 24, 7, 200, True)
REHEARSAL = Scale("cpu", ((64, 96),), 1, 1, 1, 4, False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("reports", "gpu"))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    if not options.rehearse and not torch.cuda.is_available():
        print(
            "error: torch sees no GPU here, and this measures one.\n"
            "-> Run it on a machine with one; --rehearse tries every line on any machine.",
            file=sys.stderr,
        )
        return 2
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)  # mmengine prints how each parameter was initialised
    init_default_scope("mmdet")
    scale = REHEARSAL if options.rehearse else REAL
    found = measure(scale, time.monotonic() + 60 * options.minutes)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.json").write_text(json.dumps(found, indent=2) + "\n")
    (options.out / "gpu.md").write_text(table(found))
    print(table(found))
    print(f"written: {options.out / 'gpu.json'}, {options.out / 'gpu.md'}")
    return 0


def measure(scale: Scale, deadline: float) -> dict[str, Any]:
    """Everything, the comparisons that matter most first."""
    found: dict[str, Any] = {"machine": machine(scale), "training": {}, "left out": []}
    found["loader"] = loader(scale)
    cases = [(STOCK, "exact"), *((name, "exact") for name in CORE), *((name, "fast") for name in CORE)]
    if scale.compiles:
        cases += [(name, "fast, not compiled") for name in CORE]
    for name, mode in cases:
        if time.monotonic() > deadline - 60 and not found["machine"]["rehearsal"]:
            found["left out"].append(f"{name}, {mode}")
            continue
        print(f"{name}, {mode} ...", file=sys.stderr, flush=True)
        found["training"][f"{name}, {mode}"] = training(name, mode, scale)
    stock = found["training"][f"{STOCK}, exact"]["images_per_second"]
    for case in found["training"].values():
        case["times_stock"] = round(case["images_per_second"] / stock, 3)
    found["evaluation"] = evaluation(scale)
    return found


def machine(scale: Scale) -> dict[str, Any]:
    """What computed, with which versions."""
    gpu = torch.cuda.get_device_name() if scale.device == "cuda" else None
    return {
        "rehearsal": scale is REHEARSAL, "gpu": gpu, "cpu": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)), "python": platform.python_version(),
        "torch": torch.__version__, "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if gpu else None,
        "mmcv": mmcv.__version__, "mmdet": mmdet.__version__,
        "tf32 in convolutions": torch.backends.cudnn.allow_tf32,
        "commit": git_commit(Path(__file__).resolve().parent),
    }  # fmt: skip


# Training


def training(name: str, mode: str, scale: Scale) -> dict[str, Any]:
    """Images a second, the loss's share, waits and memory of one case."""
    if scale.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step, model = stepper(name, mode, scale)
    batches = [batch(shape, number) for number, shape in enumerate(scale.shapes)]
    if scale.device == "cuda":
        batches = [pinned(one) for one in batches]
    turns = itertools.cycle(batches)
    started = time.perf_counter()
    for _ in range(max(scale.warm_up, len(batches))):
        step(next(turns))
    synchronize(scale)
    warm_up = time.perf_counter() - started
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(scale.steps):
            step(next(turns))
        synchronize(scale)
        seconds.append((time.perf_counter() - started) / scale.steps)
    pace = statistics.median(seconds)
    result = {
        "images_per_second": round(2 / pace, 3),
        "step_seconds": round(pace, 5),
        "warm_up_seconds": round(warm_up, 1),
        "peak_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20)
        if scale.device == "cuda"
        else None,
    }
    loss = loss_seconds(model, batches[0], step, scale)
    return {**result, "loss_share": round(loss / pace, 4), "waits_per_step": waits(step, turns, scale)}


def stepper(name: str, mode: str, scale: Scale) -> tuple[Callable[[Any], Any], Any]:
    """A function that trains a step on a batch, and the model."""
    if name == STOCK:
        folder = Path(mmdet.__file__).parent / ".mim" / "configs" / "retinanet"
        config = Config.fromfile(folder / "retinanet_r50_fpn_1x_coco.py").to_dict()
    else:
        config = resolve(RunSpec(name, "paper", 0), described(Path("unused"), Path("unused")))
        config["optim_wrapper"] = {**config["optim_wrapper"], "type": "AsynchronousOptimWrapper"}
        if mode != "exact":
            make_fast(config)
            config["fast"]["compile"] = scale.compiles and mode == "fast"
    settings = ConfigDict(config)
    settings.model.backbone.init_cfg = None  # no download: the speed does not depend on the weights
    settings.optim_wrapper.optimizer.lr = 1e-6  # nor may they run away
    if scale is REHEARSAL:
        settings.model.backbone.depth = 18
        settings.model.neck.in_channels = [64, 128, 256, 512]
    torch.manual_seed(0)
    model = MODELS.build(settings.model)
    fast = TASK_UTILS.build(settings.fast) if "fast" in settings else None
    if fast is not None:
        fast.prepare(model)
    model.init_weights()
    if fast is not None:
        fast.lay_out(model)
    model = model.to(scale.device).train()
    wrapper = build_optim_wrapper(model, settings.optim_wrapper)

    def step(data: Any) -> Any:
        losses = model.train_step(data, wrapper)
        if name == STOCK:  # as mmengine's RuntimeInfoHook does after each step
            return {term: value.item() for term, value in losses.items()}
        return losses

    return step, model


def batch(shape: tuple[int, int], seed: int) -> dict[str, Any]:
    """Two images as the loader hands them over, with :data:`OBJECTS` objects each."""
    rng = np.random.default_rng(seed)
    height, width = shape
    inputs, samples = [], []
    for _ in range(2):
        pixels = rng.integers(0, 256, (3, height, width), dtype=np.uint8)
        inputs.append(torch.from_numpy(pixels))
        sides = np.exp(rng.uniform(np.log(0.03), np.log(0.7), (OBJECTS, 2))) * (width, height)
        corner = rng.uniform(0, 1, (OBJECTS, 2)) * ((width, height) - sides)
        boxes = torch.from_numpy(np.concatenate([corner, corner + sides], axis=1)).float()
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0), img_id=seed)
        )
        sample.gt_instances = InstanceData(
            bboxes=boxes, labels=torch.from_numpy(rng.integers(0, 80, OBJECTS)).long()
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    return {"inputs": inputs, "data_samples": samples}


def pinned(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "inputs": [image.pin_memory() for image in data["inputs"]]}


def loss_seconds(model: Any, data: Any, step: Callable[[Any], Any], scale: Scale) -> float:
    """Seconds of the loss alone, forward and backward, on the maps that the network gives."""
    head, kept = model.bbox_head, []
    plain = head.loss_by_feat

    def keep(*args: Any, **kwargs: Any) -> Any:
        kept.append((args, kwargs))
        return plain(*args, **kwargs)

    head.loss_by_feat = keep
    step(data)
    del head.loss_by_feat
    args, kwargs = kept[0]
    leaves: list[torch.Tensor] = []

    def leaf(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            leaves.append(value.detach().requires_grad_())
            return leaves[-1]
        return [leaf(one) for one in value] if isinstance(value, (list, tuple)) else value

    args = tuple(leaf(value) for value in args)
    seconds = []
    for _ in range(scale.repeats + 1):
        synchronize(scale)
        started = time.perf_counter()
        total, _ = model.parse_losses(plain(*args, **kwargs))
        torch.autograd.grad(total, leaves, allow_unused=True)
        synchronize(scale)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def waits(step: Callable[[Any], Any], turns: Iterator[Any], scale: Scale) -> dict[str, float]:
    """Operations for which the CPU waits, per step, by torch's profiler."""
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (scale.device == "cuda")
    steps = min(3, scale.steps)
    synchronize(scale)
    with profile(activities=activities) as record:
        for _ in range(steps):
            step(next(turns))
    counts = {event.key: event.count for event in record.key_averages()}
    # One call of cudaDeviceSynchronize is the profiler's own, at its end.
    return {key: round(counts[key] / steps, 1) for key in WAITS if counts.get(key)}


def synchronize(scale: Scale) -> None:
    if scale.device == "cuda":
        torch.cuda.synchronize()


# The loader


def loader(scale: Scale) -> dict[str, Any]:
    """Images that one core decodes, resizes, flips and packs a second."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_photos(root, scale.photos)
        config = resolve(RunSpec("retinanet", "paper", 0), described(root / "annotations.json", root))
        settings = {**config["train_dataloader"], "num_workers": 0, "persistent_workers": False}
        dataset = Runner.build_dataloader(ConfigDict(settings), seed=0).dataset
        cv2.setNumThreads(0)
        torch.set_num_threads(1)
        dataset[0]
        started = time.perf_counter()
        for index in range(len(dataset)):
            dataset[index]
        seconds = time.perf_counter() - started
        read = time.perf_counter()
        for path in sorted(root.glob("*.jpg")):
            mmcv.imread(str(path))
        decoding = time.perf_counter() - read
    count = len(dataset)
    return {
        "images_per_second_per_core": round(count / seconds, 1),
        "share_of_decoding": round(decoding / seconds, 3),
    }


def write_photos(root: Path, count: int) -> None:
    """JPEG files of COCO's size and about its bytes, and their annotations."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(1, count + 1):
        coarse = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        photo = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        photo += rng.integers(-12, 13, photo.shape, dtype=np.int16)
        name = f"{number:012d}.jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
        cv2.imwrite(str(root / name), photo.clip(0, 255).astype(np.uint8), quality)
        images.append({"id": number, "file_name": name, "width": 640, "height": 480})
        for _ in range(OBJECTS):
            x, y, w, h = (float(value) for value in rng.uniform(20, 200, 4))
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "bbox": [x, y, w, h],
                 "area": w * h, "iscrowd": 0}
            )  # fmt: skip
    categories = [{"id": number, "name": f"c{number}"} for number in range(1, 81)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content))


def described(annotations: Path, images: Path) -> Dataset:
    """A dataset of COCO's 80 classes, to resolve configs with."""
    split = Split(annotations, images, 1, 1, "0")
    return Dataset("photos", "coco", images, split, split, tuple(f"c{number}" for number in range(1, 81)))


# Evaluation


def evaluation(scale: Scale) -> dict[str, Any]:
    """Seconds of an image's inference by LTM, and what measuring NMS recall adds."""
    _, model = stepper("ltm", "exact", scale)
    model.eval()
    height, width = scale.shapes[0]
    head, device = model.bbox_head, scale.device
    generator = torch.Generator().manual_seed(0)
    # As wide as a trained network's maps: one that is not trained finds no candidates.
    sizes = [(-(-height // stride), -(-width // stride)) for stride in (8, 16, 32, 64, 128)]
    outs = tuple(
        [(torch.randn(1, channels, *size, generator=generator) * spread + mean).to(device) for size in sizes]
        for channels, spread, mean in ((720, 0.7, -5.5), (36, 0.5, 0.0))
    )
    meta = dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0))
    data = batch((height, width), 0)
    image = data["inputs"][0][None].float().to(device)
    objects = data["data_samples"][0].gt_instances.to(device)
    inference, covering, found = [], [], 0
    with torch.no_grad():
        for _ in range(scale.repeats + 1):
            synchronize(scale)
            started = time.perf_counter()
            head(model.extract_feat(image))
            detections = head.predict_by_feat(*outs, batch_img_metas=[meta], rescale=True)[0]
            synchronize(scale)
            inference.append(time.perf_counter() - started)
            started = time.perf_counter()
            one = candidates(head, outs, [meta])[0]
            coverage(one, detections, objects.bboxes, objects.labels, head.test_cfg)
            synchronize(scale)
            covering.append(time.perf_counter() - started)
            found = len(one)
    plain, added = statistics.median(inference[1:]), statistics.median(covering[1:])
    return {
        "inference_seconds_per_image": round(plain, 5),
        "nms_recall_seconds_per_image": round(added, 5),
        "with_nms_recall": round(1 + added / plain, 3),
        "candidates": found,
    }


# The report


def table(found: dict[str, Any]) -> str:
    """The results in Markdown."""
    here = found["machine"]
    lines = ["# One GPU", ""]
    if here["rehearsal"]:
        lines += [
            "**A rehearsal: tiny images, R-18, a few steps, not compiled. These numbers mean nothing.**",
            "",
        ]
    what = here["gpu"] or here["cpu"]
    lines += [
        f"{what}, {here['cores']} cores; Python {here['python']}, torch {here['torch']}, "
        f"CUDA {here['cuda']}, mmcv {here['mmcv']}, mmdet {here['mmdet']}; commit {here['commit']}.",
        "",
        "| method | images per second | times mmdet's RetinaNet | loss | waits per step | peak memory |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, case in found["training"].items():
        stops = ", ".join(
            f"{key.removeprefix('aten::')} {count:g}" for key, count in case["waits_per_step"].items()
        )
        memory = f"{case['peak_memory_mb']} MB" if case["peak_memory_mb"] is not None else "not measured"
        lines.append(
            f"| {name} | {case['images_per_second']:.1f} | {case['times_stock']:.2f} "
            f"| {100 * case['loss_share']:.0f} % | {stops or 'none'} | {memory} |"
        )
    if found["left out"]:
        lines += ["", f"Left out, for the time was over: {'; '.join(found['left out'])}."]
    loading, testing = found["loader"], found["evaluation"]
    lines += [
        "",
        f"A core loads {loading['images_per_second_per_core']:.0f} images per second "
        f"({100 * loading['share_of_decoding']:.0f} % of it decoding).",
        f"Testing LTM takes {1000 * testing['inference_seconds_per_image']:.1f} ms per image, and with NMS "
        f"recall {testing['with_nms_recall']:.2f} times as long ({testing['candidates']} candidates).",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
