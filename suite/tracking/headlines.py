"""AP on the slices of images that the papers are about, for the columns of MLflow's table."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.errors import SuiteError
from suite.runs.directory import RunDirectory
from suite.tracking.damage import reading
from suite.workspace import Workspace

HEADLINES = {"AP_dense": "crowdedness=dense", "AP_31_objects": "objects=31+"}
"""Metric's name (MLflow's allow neither = nor +) -> slice, see :mod:`suite.evaluation.slices`."""


def annotations_of(run: RunDirectory, spec: Mapping[str, Any], workspace: Workspace) -> Path | None:
    """The annotations that a run was evaluated on, or None where they are not on this machine.

    A dataset of the workspace's ``data`` folder is found there by its name, which holds its fingerprint;
    another one where the run's config has it.
    """
    try:
        tree = ast.parse(run.config_file.read_text())
        values = {
            node.targets[0].id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        named = Path(ast.literal_eval(values["test_evaluator"])["ann_file"])
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):
        return None
    here = workspace.data / spec["dataset"]["name"] / "annotations" / named.name
    return next((path for path in (here, named) if path.is_file()), None)


def headline_slices(run: RunDirectory, annotations: Path) -> dict[str, float]:
    """AP in percent of each slice of :data:`HEADLINES` that has objects.

    Empty where the detections do not fit the annotations: numbers of a dataset that changed are none.

    Raises:
        Unsendable: The detections cannot be read.
    """
    import pandas as pd

    from suite.evaluation.coco_ap import detection_limit, evaluate_slices
    from suite.evaluation.ground_truth import GroundTruth
    from suite.evaluation.slices import select_images

    with reading(run.detections_file):
        detections = pd.read_parquet(run.detections_file)
    try:
        truth = GroundTruth.load(annotations)
        images = {name: select_images(truth, slice_) for name, slice_ in HEADLINES.items()}
        found = evaluate_slices(truth, detections, images, limit=detection_limit(run))
    except (SuiteError, OSError, ValueError):
        return {}
    values = {name: evaluation.metrics["AP"] for name, evaluation in found.items()}
    return {name: 100 * value for name, value in values.items() if value is not None}
