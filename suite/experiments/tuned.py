"""Rows that take their options from a study: ``tuned: reports/mini/studies/ltm_tpe/best.yaml``."""

from pathlib import Path

from suite.errors import SuiteError
from suite.experiments.schema import Experiment, Row


def with_tuned_options(experiment: Experiment, root: Path) -> tuple[Experiment, dict[str, str]]:
    """The experiment with the parameters of the studies that its rows name.

    A row's own ``options`` come before the study's. Only the file is read: no search is run again.

    Args:
        experiment: The experiment.
        root: The project's folder, which the rows' paths are relative to.

    Returns:
        The experiment, and for each tuned row's label what has to be said beside its numbers: number of
        trials, and whether they were evaluated on the split that tables report.

    Raises:
        SuiteError: A file is missing or is no ``best.yaml``, or it is of another method than its row.
    """
    from suite.tuning.best import load_best

    rows: list[Row] = []
    notes: dict[str, str] = {}
    for index, row in enumerate(experiment.rows):
        if row.tuned is None:
            rows.append(row)
            continue
        try:
            best = load_best(root / row.tuned)
        except SuiteError as error:
            raise SuiteError(
                f"{experiment.at('rows', index, 'tuned')}: {error.message}", error.remedy
            ) from error
        if best.method != row.method:
            where = experiment.at("rows", index, "tuned")
            raise SuiteError(
                f"{where}: {row.tuned} is of method {best.method!r}; the row's method is {row.method!r}.",
                "Name a study of the row's method.",
            )
        rows.append(row.model_copy(update={"options": {**best.parameters, **row.options}}))
        notes[row.label] = best.note
    if not notes:
        return experiment, notes
    return experiment.model_copy(update={"rows": rows}), notes
