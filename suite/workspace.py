"""Where things are: the folders of a checkout."""

import os
from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).resolve().parent / "experiments" / "shipped"
"""The experiments' YAML files in an installed wheel; a checkout and an editable install have none here."""


@dataclass(frozen=True)
class Workspace:
    """The folders that the suite reads and writes, below one root."""

    root: Path

    @property
    def runs(self) -> Path:
        """One folder a run."""
        return self.root / "runs"

    @property
    def data(self) -> Path:
        """Generated datasets and cached fingerprints."""
        return self.root / "data"

    @property
    def weights(self) -> Path:
        """Pretrained weights: where the environment variable SUITE_WEIGHTS points to, else below data."""
        given = os.environ.get("SUITE_WEIGHTS")
        return Path(given).expanduser() if given else self.data / "weights"

    @property
    def reports(self) -> Path:
        """Rendered tables and figures, one folder a preset."""
        return self.root / "reports"

    @property
    def experiments(self) -> Path:
        """The experiments' YAML files: the root's own, else those that the wheel brought."""
        own = self.root / "experiments"
        return SHIPPED if SHIPPED.is_dir() and not own.is_dir() else own
