"""What a picture is drawn from, and what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from suite.data.dataset import Dataset
from suite.runs.directory import RunDirectory


@dataclass(frozen=True)
class PictureRow:
    """A method in a picture.

    Attributes:
        label: Its name.
        run: The finished run of the first seed; None without one.
        why: Why there is none.
    """

    label: str
    run: RunDirectory | None
    why: str


@dataclass(frozen=True)
class PictureInput:
    """What a picture is drawn from.

    Attributes:
        title: Its title.
        subtitle: What was run.
        rows: The methods; a picture of a formula ignores them.
        dataset: What the runs were trained and evaluated on.
        settings: What the experiment's file sets of the kind's settings.
    """

    title: str
    subtitle: str
    rows: list[PictureRow]
    dataset: Dataset
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Pictures:
    """What was drawn.

    Attributes:
        files: File name -> content; empty where nothing could be drawn.
        numbers: What the picture shows.
        notes: What a reader has to know: which object of which image, which iterations, what is missing.
        reason: Why nothing could be drawn, or an empty string.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    numbers: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: list[str] = field(default_factory=list)
    reason: str = ""
