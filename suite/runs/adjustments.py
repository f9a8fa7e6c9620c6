"""GPUS, BATCH, ACCUMULATE and FAST: what a user asks for in place of a preset's GPUs and images per step.

All of it ends in the resolved config and in the run's resources, and so in the run's identity.
"""

from dataclasses import asdict, dataclass
from typing import Any

from suite.errors import SuiteError
from suite.runs.fast import make_fast
from suite.runs.resources import Resources


@dataclass(frozen=True)
class Adjustments:
    """What differs from the preset, for every run of a request.

    Attributes:
        gpus: GPUs per run: 0, a fraction below 1 (runs share a GPU) or a whole number; None for the preset's.
        batch: Images per step over all GPUs, 1 or more; None for the preset's. Another number than the
            preset's scales the learning rate with it (the linear rule of Goyal et al., 2017).
        accumulate: Forward passes per step, 1 or more: a step's images are shared among them.
        fast: :func:`suite.runs.fast.make_fast`.

    Raises:
        SuiteError: A number is none of these.
    """

    gpus: float | None = None
    batch: int | None = None
    accumulate: int = 1
    fast: bool = False

    def __post_init__(self) -> None:
        if self.gpus is not None and not (self.gpus >= 0 and (self.gpus <= 1 or self.gpus == int(self.gpus))):
            raise SuiteError(
                f"GPUS={self.gpus:g}: expected a whole number of GPUs per run, or a fraction below 1.",
                "Like GPUS=4, or GPUS=0.5 for two runs on each GPU.",
            )
        for name, value in (("BATCH", self.batch), ("ACCUMULATE", self.accumulate)):
            if value is not None and value < 1:
                raise SuiteError(f"{name}={value}: expected a whole number of at least 1.")

    @property
    def variables(self) -> list[str]:
        """As variables of make: ``GPUS=4``, ``BATCH=32``; empty where all is the preset's."""
        found = [] if self.gpus is None else [f"GPUS={self.gpus:g}"]
        found += [] if self.batch is None else [f"BATCH={self.batch}"]
        found += [f"ACCUMULATE={self.accumulate}"] if self.accumulate > 1 else []
        return found + (["FAST=1"] if self.fast else [])

    @property
    def suffix(self) -> str:
        """For names of folders: ``-gpus4-batch32-fast``; empty where all is the preset's."""
        return "".join(f"-{one.lower().replace('=', '')}" for one in self.variables).replace("fast1", "fast")

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, for ``spec.json``."""
        return asdict(self)


_NAMED = 4
"""Methods that a sentence names at most."""

NONE = Adjustments()
"""All is the preset's."""


def adjust(
    config: dict[str, Any], own: Resources, given: Resources, adjustments: Adjustments, what: str
) -> None:
    """Change a resolved config, in place, for the resources that the run is given.

    Args:
        config: A resolved config with the images per process that the preset has.
        own: The preset's resources.
        given: Those of the run.
        adjustments: What is asked for.
        what: Names the run's method and preset in messages.

    Raises:
        SuiteError: The images per step cannot be shared out, or FAST is asked for on CPUs.
    """
    loader = config["train_dataloader"]
    published = loader["batch_size"] * own.processes
    batch = published if adjustments.batch is None else adjustments.batch
    shares = given.processes * adjustments.accumulate
    if batch % shares:
        fitting = ", ".join(str(count) for count in range(1, batch + 1) if batch % count == 0)
        raise SuiteError(
            f"{what}: {batch} images per step cannot be shared by {_shares(given, adjustments)}.",
            f"Choose GPUS times ACCUMULATE among {fitting}; or a multiple of {shares} as BATCH, with which "
            "the learning rate is scaled.",
        )
    loader["batch_size"] = batch // shares
    if batch != published:
        config["optim_wrapper"]["optimizer"]["lr"] *= batch / published
    if adjustments.accumulate > 1:
        _accumulate(config, adjustments.accumulate)
    if given.gpus == 0 and given.processes > 1:
        config["env_cfg"] = {**config["env_cfg"], "dist_cfg": {"backend": "gloo"}}
        config["model_wrapper_cfg"] = {
            "type": "MMDistributedDataParallel", "device_ids": None, "broadcast_buffers": False,
            "find_unused_parameters": config.get("find_unused_parameters", False),
        }  # fmt: skip
    if adjustments.fast:
        if given.gpus == 0:
            raise SuiteError(
                f"{what}: FAST=1 trains in bfloat16 on a GPU, and this run is on CPUs.",
                "Leave FAST out, or choose a preset with GPUs, like coco-1gpu.",
            )
        make_fast(config)


def _accumulate(config: dict[str, Any], count: int) -> None:
    """Make a step of ``count`` forward passes: what the config counts in steps, mmengine counts in passes."""
    config["optim_wrapper"]["accumulative_counts"] = count
    for scheduler in config["param_scheduler"]:
        if not scheduler.get("by_epoch", True):
            for bound in ("begin", "end"):
                if bound in scheduler:
                    scheduler[bound] *= count


def _shares(given: Resources, adjustments: Adjustments) -> str:
    processes = f"{given.processes} {'GPUs' if given.gpus else 'processes'}"
    if given.processes == 1:
        processes = "one GPU" if given.gpus else "one process"
    passes = f" in {adjustments.accumulate} forward passes" if adjustments.accumulate > 1 else ""
    return f"{processes}{passes}"


def remarks(
    adjustments: Adjustments, own: dict[str, Resources], given: dict[str, Resources], batches: dict[str, int]
) -> list[str]:
    """What a reader of the plan or of a table has to know: one sentence each.

    Args:
        adjustments: What was asked for.
        own: Method -> the preset's resources.
        given: Method -> the run's.
        batches: Method -> the preset's images per step.
    """
    texts = []
    changed = {method for method in own if own[method].identity != given[method].identity}
    if adjustments.gpus is not None and changed:
        counts = " or ".join(f"{count:g}" for count in sorted({own[method].gpus for method in changed}))
        texts.append(
            f"Trained on {adjustments.gpus:g} GPUs per run where the preset has {counts}"
            + ("." if adjustments.batch else ", with the preset's images per step.")
        )
    factors: dict[tuple[int, int], list[str]] = {}
    for method, batch in batches.items():
        if adjustments.batch is not None and batch != adjustments.batch:
            factors.setdefault((batch, adjustments.batch), []).append(method)
    for before, now in sorted(factors, key=lambda one: len(factors[one])):
        methods = factors[before, now]
        # The last ones are the most.
        named = "The others" if texts and len(methods) > _NAMED else ", ".join(methods)
        texts.append(
            ("" if len(methods) == len(batches) else f"{named}: ")
            + f"{now} images per step in place of {before}, so the learning rate is multiplied by "
            f"{now / before:.4g} (the linear rule)."
        )
    if adjustments.accumulate > 1:
        texts.append(
            f"The images of a step are computed in {adjustments.accumulate} forward passes, whose gradients "
            "are averaged. Losses that are divided by a count of positives or objects (over all GPUs in ATSS "
            "and PAA, over those of each GPU in RetinaNet, FreeAnchor and LTM) count them in each pass."
        )
    if adjustments.fast:
        texts.append(
            "Trained with FAST=1: bfloat16, channels last and compiled; equal to exact training within noise "
            "at best."
        )
    return texts
