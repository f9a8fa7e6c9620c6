"""AP while a detector trains, on a few images of the evaluated split: a curve, and what studies prune by."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from mmdet.registry import DATASETS, HOOKS
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from suite.evaluation.coco_ap import evaluate
from suite.evaluation.ground_truth import GroundTruth
from suite.inference.metric import DetectionDump
from suite.runs.directory import RunDirectory
from suite.telemetry.observation import evaluating, random_numbers_of_its_own, unwrapped
from suite.training.hooks import append_line, outside_training


@HOOKS.register_module()
class ValidationHook(Hook):
    """Appends ``{"step", "epoch", "val_AP", "time"}`` to metrics.jsonl, after an epoch.

    ``val_AP`` is COCO's AP, in [0, 1], on ``images`` images spread evenly over the split that the run is
    evaluated on at its end; always the same ones, at one scale. They are too few to report: a run's numbers
    are those of all images, after its last step. Without objects on these images there is no line. Without a
    split to evaluate on, which a training by mmdet's own tools may lack, there is none either, and a notice
    says so.

    The training goes on as if nothing had happened: weights, statistics of norms and generators of random
    numbers are what they were, and the time it takes counts as validation, not as training. In a distributed
    training the main process evaluates, and the others wait for it at their next step.

    Args:
        images: Images to evaluate; all of a split that has fewer.
        interval: Epochs from line to line; the last epoch always has one.

    Raises:
        SuiteError: The file cannot be written.
    """

    # Before the checkpoint: a training that is killed between the two does the epoch again, and its line.
    priority = "LOW"

    def __init__(self, images: int = 200, interval: int = 1) -> None:
        self.images = images
        self.interval = interval
        self.split: _Split | None = None
        self.missing: str | None = None

    def before_train(self, runner: Runner) -> None:
        """Say so where there is nothing to evaluate on, before an epoch is trained."""
        self.missing = _missing(runner.cfg)
        if self.missing and is_main_process():
            print(f"notice: no val_AP: {self.missing}", flush=True)

    def after_train_epoch(self, runner: Runner) -> None:
        """Evaluate when it is due."""
        last = runner.epoch + 1 == runner.max_epochs
        if self.missing or not is_main_process():
            return
        if not (last or self.every_n_epochs(runner, self.interval)):
            return
        model = unwrapped(runner.model)
        own_numbers = random_numbers_of_its_own("validation", runner.seed)
        with outside_training(runner), own_numbers, evaluating(model), torch.no_grad():
            if self.split is None:
                self.split = _Split(runner.cfg, self.images)
            found = self.split.average_precision(model)
        if found is not None:
            now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
            line = {"step": runner.iter, "epoch": runner.epoch + 1, "val_AP": round(found, 6), "time": now}
            append_line(RunDirectory(Path(runner.work_dir)).metrics_file, line)


class _Split:
    """Some images of the evaluated split."""

    def __init__(self, config: Any, images: int) -> None:
        loader = config.test_dataloader
        self.dataset = DATASETS.build({**loader.dataset, "pipeline": _one_version(loader.dataset.pipeline)})
        size = len(self.dataset)
        count = min(images, size)
        self.rows = [index * size // count for index in range(count)]
        self.batch_size = int(loader.batch_size)
        ids = [self.dataset.get_data_info(row)["img_id"] for row in self.rows]
        self.truth = GroundTruth.load(self.dataset.ann_file).subset(ids)
        self.dump = DetectionDump(self.dataset.ann_file)
        self.dump.category_ids = self.dataset.cat_ids

    def average_precision(self, model: Any) -> float | None:
        """AP of a detector in evaluation mode, in [0, 1]; None if there is no object to find."""
        self.dump.results.clear()
        for first in range(0, len(self.rows), self.batch_size):
            batch = pseudo_collate([self.dataset[row] for row in self.rows[first : first + self.batch_size]])
            samples: Sequence[Any] = model.test_step(batch)
            self.dump.process(batch, [sample.to_dict() for sample in samples])
        parts = [pd.DataFrame(result["detections"]) for result in self.dump.results]
        return evaluate(self.truth, pd.concat(parts, ignore_index=True)).metrics["AP"]


def _missing(config: Any) -> str | None:
    """What a config lacks to evaluate with, or None."""
    if not config.get("test_dataloader"):
        return "the config has no test_dataloader"
    dataset = config.test_dataloader.dataset
    # As mmdet's datasets join the two.
    path = Path(dataset.get("data_root") or "", dataset.ann_file)
    return None if path.exists() else f"{path} is missing"


def _one_version(pipeline: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pipeline with a single version of an image: of multi-scale testing the middle scale, unmirrored."""
    steps: list[dict[str, Any]] = []
    for step in pipeline:
        if step["type"] == "TestTimeAug":
            middle = [choices[len(choices) // 2] for choices in step["transforms"]]
            steps += [choice for choice in middle if choice["type"] != "RandomFlip"]
        else:
            steps.append(step)
    return steps
