"""What a report is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from suite.experiments.schema import Experiment
from suite.reporting.adopted import Adopted
from suite.runs.directory import RunDirectory

if TYPE_CHECKING:
    from suite.data.dataset import Dataset

COCO_VAL2017_IMAGES = 5000


@dataclass(frozen=True)
class RunInput:
    """One run of a row.

    Attributes:
        seed: Training seed.
        run_id: Identity of the run as it would be made now.
        state: As the plan says: ``done``, ``new``, ``stale``, ``failed``, ``interrupted`` or ``running``.
        directory: The run's folder if the state is ``done``, else None.
        reason: Why the run is in this state, in words for the reader.
    """

    seed: int
    run_id: str
    state: str
    directory: RunDirectory | None
    reason: str = ""


@dataclass(frozen=True)
class ExperimentInput:
    """An experiment and its runs.

    Attributes:
        experiment: What to render.
        runs: Row label -> the row's runs, one for each seed. Rows without a method have none.
        command: The command that makes the experiment's missing runs and renders it again.
        unmeasurable: Row label -> why the preset cannot measure the row, and which command can.
        audit: What rows differ in besides the declared factor, one sentence per row.
        notes: What else a reader has to know about how the rows were run.
        tuned: Label of a row with options found by a study -> the note that its numbers need.
    """

    experiment: Experiment
    runs: Mapping[str, Sequence[RunInput]]
    command: str
    unmeasurable: Mapping[str, str] = field(default_factory=dict)
    audit: Sequence[str] = ()
    notes: Sequence[str] = ()
    tuned: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodInput:
    """A method as it is, without options of its own, and its runs.

    Attributes:
        label: Its name for people, with the schedule where it is not the usual one.
        runs: One for each seed.
    """

    label: str
    runs: Sequence[RunInput]


@dataclass(frozen=True)
class ReportInput:
    """A report on one preset.

    Attributes:
        preset: Name of the preset, for headings.
        dataset: What the runs were trained and evaluated on.
        experiments: What to render.
        full_scale: Whether the preset trains as the papers do (their schedule, image size and backbone).
        commit: The code's commit, or None outside a checkout.
        others: Experiments that are not rendered now, with the command that would; the page keeps what an
            earlier report has of them.
        adopted: Detectors that others trained and that were evaluated here.
        runs: Folder of the run directories; need not exist.
        methods: For the table of methods; no two have the same label.
    """

    preset: str
    dataset: "Dataset"
    experiments: Sequence[ExperimentInput] = field(default_factory=list)
    full_scale: bool = False
    commit: str | None = None
    others: Sequence[tuple[Experiment, str]] = ()
    adopted: Sequence[Adopted] = ()
    runs: Path = Path("runs")
    methods: Sequence[MethodInput] = ()

    @property
    def comparable(self) -> bool:
        """Whether levels may be judged: trained as published and evaluated on all of COCO val2017."""
        coco = self.dataset.kind == "coco" and self.dataset.val.n_images == COCO_VAL2017_IMAGES
        return self.full_scale and coco
