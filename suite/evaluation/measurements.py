"""Numbers of finished runs, each read from the run's own files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from suite.errors import SuiteError, nearest
from suite.evaluation.coco_ap import (
    SIZE_RANGES,
    Evaluation,
    Evaluator,
    detection_limit,
    evaluate_slices,
)
from suite.evaluation.detections import check_detections
from suite.evaluation.ground_truth import GroundTruth, check_known
from suite.evaluation.iou_prediction import iou_prediction_error
from suite.evaluation.metrics import IOU_ERRORS, OPTION, metric
from suite.evaluation.nms_recall import PROTOCOLS, nms_recall
from suite.evaluation.slices import select_images
from suite.runs.configs import method_info
from suite.runs.directory import RunDirectory

_OF_SIZE = {f"{kind}{size}": size for kind in ("AP", "AR") for size in SIZE_RANGES}
_RESULT_FIELDS = {
    "train_hours": "train_seconds",
    "step_seconds": "step_seconds",
    "fps": "images_per_second",
    "parameters": "parameters",
    "peak_memory_mb": "peak_memory_mb",
}


_EVALUATE_AGAIN = (
    "Delete the file and run the experiment again: it evaluates the run again, from its last checkpoint."
)


def option_value(run: RunDirectory, option: str) -> float:
    """What a run's config holds for one of its method's options.

    Raises:
        SuiteError: ``spec.json`` is damaged, the method has no such option, or its value is no number.
    """
    spec = run.spec()
    known = method_info(str(spec.get("method")))["options"]
    if option not in known:
        raise SuiteError(f"method {spec['method']!r} has no option {option!r}.{nearest(option, known)}")
    path = known[option] if isinstance(known[option], str) else known[option][0]
    try:
        value: Any = spec["identity"]["config"]
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (LookupError, TypeError, ValueError) as error:
        raise SuiteError(f"{run.spec_file}: the config has no {path!r}.", f"Delete {run.path}.") from error
    if not isinstance(value, int | float):
        raise SuiteError(f"option {option!r} of method {spec['method']!r}: {value!r} is no number.")
    return float(value)


def read_detections(run: RunDirectory, truth: GroundTruth) -> pd.DataFrame:
    """A run's ``detections.parquet``, checked against the annotations.

    Raises:
        SuiteError: The file is missing or damaged, or lacks a column; or detections are of unknown images or
            categories, or not finite.
    """
    frame = _read_numbers(run.detections_file)
    try:
        check_detections(truth, frame)
    except SuiteError as error:
        raise SuiteError(f"{run.detections_file}: {error.message}", _EVALUATE_AGAIN) from error
    return frame


def read_coverage(run: RunDirectory, truth: GroundTruth) -> pd.DataFrame:
    """A run's ``coverage.parquet``, checked against the annotations.

    Raises:
        SuiteError: The file is missing or damaged, lacks a column, or is of other annotations.
    """
    path, objects = run.coverage_file, truth.objects
    coverage = _read_numbers(path)
    for name in ("image_id", "annotation_id"):
        if name not in coverage:
            raise SuiteError(f"{path}: no column {name!r}.", _EVALUATE_AGAIN)
    if len(coverage) != len(objects):
        raise SuiteError(
            f"{path}: {len(coverage)} objects; the annotations have {len(objects)}.",
            "Run the experiment again: the run was evaluated on other annotations.",
        )
    check_known(coverage["annotation_id"], objects["id"], f"{path}: annotation_id")
    return coverage


def _read_numbers(path: Path) -> pd.DataFrame:
    """A parquet file whose columns are all of numbers."""
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # what pyarrow and pandas raise depends on the bytes that are damaged
        why = str(error).partition("\n")[0] or type(error).__name__
        raise SuiteError(f"{path}: cannot read ({why}).", _EVALUATE_AGAIN) from error
    for name, column in frame.items():
        if not pd.api.types.is_numeric_dtype(column):
            raise SuiteError(f"{path}: column {name!r} is not of numbers.", _EVALUATE_AGAIN)
    return frame


class Measurements:
    """Reads and evaluates finished runs; what was asked for before is answered from memory.

    A run is evaluated on all images and on every slice that :meth:`expect` announced, in one matching pass.

    Args:
        truth: Annotations of the evaluated split.
        evaluator: See :func:`suite.evaluation.coco_ap.evaluate`.
    """

    def __init__(self, truth: GroundTruth, evaluator: Evaluator = "hotcoco") -> None:
        self.truth = truth
        self._evaluator: Evaluator = evaluator
        self._slices: dict[str, frozenset[int]] = {}
        self._expected: dict[Path, set[str]] = {}
        self._frames: dict[Path, pd.DataFrame] = {}
        self._evaluations: dict[tuple[Path, str | None], Evaluation] = {}
        self._errors: dict[tuple[Path, str | None], Mapping[str, float | None]] = {}
        self._recalls: dict[tuple[Path, str | None, str], Mapping[str, float | None]] = {}

    def expect(self, run: RunDirectory, selection: str) -> None:
        """Announce that a run will be asked for AP on a slice; raises as :meth:`value`."""
        self.images(selection)
        self._expected.setdefault(run.path, set()).add(selection)

    def value(self, run: RunDirectory, name: str, selection: str | None = None) -> float | None:
        """A metric of one run in its printed unit, or None where it is undefined or was lost with a file.

        Args:
            run: A finished run.
            name: A key of :data:`suite.evaluation.metrics.METRICS`.
            selection: A slice of images such as ``crowdedness=sparse``; all images by default.

        Raises:
            SuiteError: The metric or slice is unknown, or a file of the run is unreadable or does not fit.
        """
        kind = metric(name)
        if name in IOU_ERRORS:
            raw = self._iou_errors(run, selection)[name]
        elif kind.source == "detections":
            raw = self.evaluation(run, selection).metrics[name]
        elif kind.source == "coverage":
            raw = self._recall(run, selection, name)
        elif kind.source == "spec":
            raw = option_value(run, name.removeprefix(OPTION))
        else:
            raw = self._result(run, name)
        return None if raw is None else raw * kind.scale

    def evaluation(self, run: RunDirectory, selection: str | None = None) -> Evaluation:
        """COCO's numbers of one run on all images or on a slice; raises as :meth:`value`."""
        key = (run.path, selection)
        if key not in self._evaluations:
            if selection:
                self.expect(run, selection)
            images = {  # "" names no slice
                name: self.images(name) if name else self.truth.images["id"].tolist()
                for name in ("", *sorted(self._expected.get(run.path, ())))
                if (run.path, name or None) not in self._evaluations
            }
            limit = detection_limit(run)
            found = evaluate_slices(self.truth, self._detections(run), images, self._evaluator, limit)
            for name, evaluation in found.items():
                self._evaluations[run.path, name or None] = evaluation
        return self._evaluations[key]

    def any_evaluation(self) -> Evaluation | None:
        """One of the evaluations made so far, for the evaluator's name and version; None before the first."""
        return next(iter(self._evaluations.values()), None)

    def category_ap(self, run: RunDirectory) -> dict[str, float]:
        """AP in percent by category name, for the categories that have objects; raises as :meth:`value`."""
        frame = self.evaluation(run).categories
        return dict(zip(frame["name"], (100 * frame["AP"]).tolist(), strict=True))

    def rests_on(self, run: RunDirectory, name: str, selection: str | None = None) -> dict[str, int]:
        """Numbers of images, objects and categories that a metric was measured on; empty for times.

        A metric of one size rests on the objects of that size and their categories, and on all images: a
        false positive of that size counts in any of them.
        """
        kind = metric(name)
        if kind.source == "detections":
            evaluation = self.evaluation(run, selection)
            objects, categories = evaluation.n_objects, evaluation.n_categories
            if name in _OF_SIZE:
                objects, categories = evaluation.by_size[_OF_SIZE[name]]
            return {"images": evaluation.n_images, "objects": objects, "categories": categories}
        if kind.source == "coverage":
            coverage = self._coverage(run, selection)
            return {"images": coverage["image_id"].nunique(), "objects": len(coverage)}
        return {}

    def images(self, selection: str) -> frozenset[int]:
        """Image ids of a slice; raises as :meth:`value`."""
        if selection not in self._slices:
            self._slices[selection] = select_images(self.truth, selection)
        return self._slices[selection]

    def _detections(self, run: RunDirectory) -> pd.DataFrame:
        path = run.detections_file
        if path not in self._frames:
            self._frames[path] = read_detections(run, self.truth)
        return self._frames[path]

    def _coverage(self, run: RunDirectory, selection: str | None) -> pd.DataFrame:
        path = run.coverage_file
        if path not in self._frames:
            self._frames[path] = read_coverage(run, self.truth)
        coverage = self._frames[path]
        return coverage[coverage["image_id"].isin(self.images(selection))] if selection else coverage

    def _recall(self, run: RunDirectory, selection: str | None, name: str) -> float | None:
        protocol = next(protocol for protocol in reversed(PROTOCOLS) if name.endswith(PROTOCOLS[protocol]))
        key = (run.path, selection, protocol)
        if key not in self._recalls:
            coverage = self._coverage(run, selection)
            try:
                self._recalls[key] = nms_recall(coverage, protocol)
            except SuiteError as error:
                raise SuiteError(f"{run.coverage_file}: {error.message}", _EVALUATE_AGAIN) from error
        return self._recalls[key][name.removesuffix(PROTOCOLS[protocol])]

    def _iou_errors(self, run: RunDirectory, selection: str | None) -> Mapping[str, float | None]:
        key = (run.path, selection)
        if key not in self._errors:
            found = self._detections(run)
            if selection:
                found = found[found["image_id"].isin(self.images(selection))]
            try:
                self._errors[key] = iou_prediction_error(self.truth, found)
            except SuiteError as error:
                raise SuiteError(f"{run.detections_file}: {error.message}", error.remedy) from error
        return self._errors[key]

    def _result(self, run: RunDirectory, name: str) -> float | None:
        result = run.result()
        if result is None:
            raise SuiteError(f"{run.result_file}: {run.result_problem()}.", "Run the experiment again.")
        value = result.get(_RESULT_FIELDS[name])
        if value is not None and not isinstance(value, int | float):
            raise SuiteError(
                f"{run.result_file}: {_RESULT_FIELDS[name]} is {value!r}, no number.", _EVALUATE_AGAIN
            )
        return None if value is None else float(value)
