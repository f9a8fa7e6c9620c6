"""What a run is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RunSpec:
    """One training and evaluation of one method.

    Attributes:
        method: Name of a file in ``suite/configs/methods``.
        preset: Name of a file in ``suite/configs/presets``.
        seed: Seed of initial weights, image order and augmentations, 0 or larger.
        options: Values of the method's named options that differ from its defaults.
    """

    method: str
    preset: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What makes two specs the same: equal keys ask for the same run."""
        return (self.method, self.preset, self.seed, repr(sorted(self.options.items())))

    @property
    def name(self) -> str:
        """A name for people, like ``ltm K=20 seed 0``."""
        options = [f"{option}={value}" for option, value in sorted(self.options.items())]
        return " ".join([self.method, *options, f"seed {self.seed}"])
