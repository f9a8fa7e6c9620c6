"""What a run is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from suite.runs.adjustments import NONE, Adjustments


@dataclass(frozen=True)
class RunSpec:
    """One training and evaluation of one method.

    Attributes:
        method: Name of a file in ``suite/configs/methods``.
        preset: Name of a file in ``suite/configs/presets``.
        seed: Seed of initial weights, image order and augmentations, 0 or larger.
        options: Values of the method's named options that differ from its defaults.
        adjustments: What differs from the preset's GPUs and images per step.
    """

    method: str
    preset: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    adjustments: Adjustments = NONE

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "RunSpec":
        """What the content of a ``spec.json`` says was asked for.

        Raises:
            KeyError: A field is missing.
            TypeError: A field is of another kind.
        """
        adjustments = Adjustments(**spec.get("adjustments", {}))
        return cls(spec["method"], spec["preset"], spec["seed"], spec["options"], adjustments)

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """What makes two specs the same: equal keys ask for the same run."""
        return (
            self.method,
            self.preset,
            self.seed,
            repr(sorted(self.options.items())),
            self.adjustments.suffix,
        )

    @property
    def name(self) -> str:
        """A name for people, like ``ltm K=20 seed 0``."""
        options = [f"{option}={value}" for option, value in sorted(self.options.items())]
        return " ".join([self.method, *options, f"seed {self.seed}"])
