"""What a study is run with: the study, the preset's dataset and its held-out part, the folders."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suite.data.dataset import Dataset, prepare
from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth
from suite.experiments.costs import typical_disk_mb
from suite.machine import require_disk
from suite.runs.adjustments import Adjustments
from suite.runs.options import spec_at
from suite.runs.presets import dataset_of, report_name, resources_of
from suite.runs.resolve import compose
from suite.runs.resolved import ResolvedRun, resolve_run
from suite.runs.resources import Resources
from suite.runs.weights import WeightStore, start_weights
from suite.tuning.checks import check_resolved, check_study
from suite.tuning.holdout import hold_out, write_holdout
from suite.tuning.objectives import undefined
from suite.tuning.study import Study, load_study, study_path
from suite.workspace import Workspace


@dataclass(frozen=True)
class StudyPlan:
    """A study at a preset.

    Attributes:
        study: The study.
        path: Its file.
        preset: The preset it is run at, which may be another than the file's.
        base: The preset's dataset.
        dataset: What the trials train and are evaluated on.
        workspace: Where things are.
    """

    study: Study
    path: Path
    preset: str
    base: Dataset
    dataset: Dataset
    workspace: Workspace

    @property
    def key(self) -> str:
        """Names the study at this preset and dataset, in the storage and below ``runs/studies``."""
        return f"{self.study.name}-{self.report_name}"

    @property
    def report_name(self) -> str:
        """Folder of the report, see :func:`suite.runs.presets.report_name`."""
        return report_name(self.preset, self.base)

    @property
    def folder(self) -> Path:
        """Journal, lock and lists of trials."""
        return self.workspace.runs / "studies" / self.key

    @property
    def report_folder(self) -> Path:
        """``best.yaml`` and the report."""
        return self.workspace.reports / self.report_name / "studies" / self.study.name

    @property
    def resources(self) -> Resources:
        """CPUs and GPUs of a run."""
        given = resources_of(self.study.method, self.preset, Adjustments(gpus=self.study.gpus))
        return given if self.study.cpus is None else replace(given, cpus=self.study.cpus)

    @property
    def weights(self) -> WeightStore:
        """The pretrained weights that trials start from."""
        return WeightStore(self.workspace.weights)

    @property
    def split_text(self) -> str:
        """In words, what the trials were evaluated on."""
        if self.study.split == "val":
            return (
                f"val, the split that tables report ({self.base.val.n_images} images): numbers of these "
                "parameters on it are tuned on it"
            )
        held = self.dataset
        return (
            f"{held.val.n_images} of the {self.base.train.n_images} training images, held out; trained on "
            f"the other {held.train.n_images}; the split that tables report was not looked at"
        )

    def run(self, options: Mapping[str, Any], seed: int) -> ResolvedRun:
        """The run of a trial's options; nothing is written.

        Raises:
            SuiteError: The options are illegal together.
        """
        spec = spec_at(self.study.method, self.preset, seed, {**self.study.options, **options})
        spec = replace(spec, adjustments=Adjustments(gpus=self.study.gpus))
        return resolve_run(spec, self.dataset, self.resources, self.workspace.runs)


def plan_study(name: str, preset: str | None, coco_root: Path | None, workspace: Workspace) -> StudyPlan:
    """Read a study and check all that can be known without its data.

    Args:
        name: The study's name.
        preset: A preset in place of the file's.
        coco_root: A COCO root that takes the place of the preset's dataset.
        workspace: Where things are.

    Raises:
        SuiteError: The study, the preset or the dataset is unknown or wrong.
    """
    path = study_path(workspace.experiments / "studies", name)
    study = load_study(path)
    chosen = study.preset if preset is None else preset
    check_study(study, path, chosen)
    base = dataset_of(chosen, coco_root, workspace)
    dataset = base if study.holdout is None else hold_out(base, study.holdout, workspace.data)
    check_resolved(study, path, chosen, dataset)
    return StudyPlan(study, path, chosen, base, dataset, workspace)


def prepare_data(plan: StudyPlan) -> GroundTruth:
    """Make sure of the data and of room for the first trials; give the annotations trials are evaluated on.

    Raises:
        SuiteError: Weights or data cannot be had, the disk is too small, or the evaluated images have no
            objects for a metric of the study.
    """
    study = plan.study
    _require_weights(plan)
    prepare(plan.base)
    if study.holdout is not None:
        write_holdout(plan.base, plan.dataset, study.holdout.seed)
    plan.folder.mkdir(parents=True, exist_ok=True)
    needed_mb = study.parallel * typical_disk_mb(plan.preset)
    require_disk(plan.folder, needed_mb, f"{study.parallel} trials at once", "Free disk space.")
    truth = GroundTruth.load(plan.dataset.val.annotations)
    for metric in study.metrics:
        if undefined(truth, metric):
            raise SuiteError(
                f"{plan.path}: metric {metric}: preset {plan.preset!r} does not produce it: the "
                f"{len(truth.images)} evaluated images have no such objects.",
                "Choose another metric or preset, or hold out more images.",
            )
    return truth


def _require_weights(plan: StudyPlan) -> None:
    """Refuse a study whose trials have no weights to start from."""
    names = start_weights(compose(spec_at(plan.study.method, plan.preset, 0, plan.study.options)))
    for name, problem in plan.weights.missing(names).items():
        raise SuiteError(f"pretrained weights {name}: {problem}.", plan.weights.remedy(name))
