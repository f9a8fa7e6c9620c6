"""Evaluation of a training before its end, from a checkpoint that was kept of it."""

from pathlib import Path
from typing import Any

import torch
from mmdet.registry import LOOPS
from mmengine.model import is_model_wrapper

from suite.errors import SuiteError
from suite.inference.loop import DetectionLoop
from suite.runs.directory import RunDirectory
from suite.runs.sharing import epoch_at, kept_checkpoint


@LOOPS.register_module()
class MarkLoop(DetectionLoop):
    """:class:`~suite.inference.loop.DetectionLoop` of the detector as it was after a share of its schedule.

    Runs that differ in ``mark`` alone share one training: learning rate and schedule are those of the whole.

    Args:
        mark: Share of the schedule, in (0, 1); None for its end.

    Raises:
        SuiteError: The training kept no checkpoint there.
    """

    def __init__(self, runner: Any, *args: Any, mark: float | None = None, **kwargs: Any) -> None:
        self.mark = mark
        super().__init__(runner, *args, **kwargs)

    def run(self) -> dict[str, Any]:
        """Load the kept checkpoint, if one is asked for, and evaluate it."""
        epochs = self.runner.cfg.train_cfg["max_epochs"]
        epoch = epochs if self.mark is None else epoch_at(self.mark, epochs)
        if epoch < epochs:
            folder = RunDirectory(Path(self.runner.work_dir)).checkpoint_file.parent
            file = folder / kept_checkpoint(epoch)
            if not file.exists():
                raise SuiteError(
                    f"{file}: the training kept no checkpoint of epoch {epoch} of {epochs}.",
                    "Name its share in default_hooks.checkpoint.keep, and delete the run's folder.",
                )
            model = self.runner.model
            # Written by this program: more than weights is in it.
            kept = torch.load(file, map_location="cpu", weights_only=False)["state_dict"]
            (model.module if is_model_wrapper(model) else model).load_state_dict(kept)
            print(f"evaluating the checkpoint of epoch {epoch} of {epochs}", flush=True)
        return super().run()
