"""The report of a study: trials table, figures, one self-contained page."""

import base64
import csv
import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.evaluation.metrics import METRICS
from suite.files import write_atomically
from suite.tuning.best import best_trials, counts, write_best
from suite.tuning.records import describe, records, summary
from suite.tuning.study_figures import draw
from suite.tuning.study_plan import StudyPlan

if TYPE_CHECKING:
    from jinja2 import Template
    from optuna import Study as OptunaStudy

_TEMPLATES = Path(__file__).parent / "templates"
_CAPTIONS = {
    "pareto": "All trials; those on the front are better than any other in at least one objective.",
    "history": "Every trial in the order of its start, and the best so far.",
    "importance": "Share of the differences between good and bad trials that each parameter explains "
    "(PED-ANOVA).",
    "slice": "The objective against each parameter, the others being what they were; colour: trial number.",
    "contour": "The objective over each pair of parameters.",
    "parallel": "Each line is a trial.",
}


def write_report(plan: StudyPlan, study: "OptunaStudy") -> Path:
    """Write ``best.yaml`` and the report of a study, also of one under way.

    Returns:
        ``index.html`` in ``reports/<preset>/studies/<name>``.
    """
    folder = plan.report_folder
    best = write_best(plan, study)
    pictures, missing = draw(plan, study)
    rows = _rows(plan, study)
    for old in folder.glob("*.png"):
        if old.name not in pictures:
            old.unlink()
    for name, content in pictures.items():
        write_atomically(folder / name, content)
    write_atomically(folder / "trials.csv", _csv(plan, rows))
    sections = [
        (name.removesuffix(".png"), _CAPTIONS[name.removesuffix(".png").split("_")[0]], _uri(content))
        for name, content in pictures.items()
    ]
    given: dict[str, Any] = {
        "plan": plan,
        "study": plan.study,
        "facts": _facts(plan, study),
        "headings": _headings(plan),
        "rows": rows,
        "found": [summary(plan, trial) for trial in best_trials(study)],
        "best_file": best.name if best else None,
        "sections": sections,
        "missing": missing,
    }
    write_atomically(folder / "README.md", _template("study.md.j2").render(given))
    write_atomically(folder / "index.html", _template("study.html.j2").render(given))
    return folder / "index.html"


def _uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


@lru_cache(maxsize=2)
def _template(name: str) -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2"]), trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(name)


def _facts(plan: StudyPlan, study: "OptunaStudy") -> dict[str, str]:
    """What was searched, how and on what: label -> text."""
    given, number = plan.study, counts(study)
    objectives = [f"{one.direction} {one.metric} ({METRICS[one.metric].unit})" for one in given.objectives]
    bounds = [f"{one.metric} at most {one.at_most:g} {METRICS[one.metric].unit}" for one in given.constraints]
    facts = {
        "Method": f"{given.method}" + (f" with {describe(given.options)}" if given.options else ""),
        "Objective": "; ".join(objectives),
        "Evaluated on": plan.split_text,
        "Trials": f"{number.total}: {number.complete} complete, {number.pruned} pruned, "
        f"{number.failed} failed",
        "Search space": "; ".join(f"{name}: {_range(name, plan)}" for name in given.space),
        "Sampler": _arguments(given.sampler.model_dump()),
        "Pruner": _arguments(given.pruner.model_dump()),
        "Seeds of a trial": ", ".join(map(str, given.seeds)),
        "Preset": plan.preset,
        "Dataset": f"{plan.dataset.name}, fingerprint {plan.dataset.fingerprint[:12]}",
        "Study's fingerprint": str(study.user_attrs["fingerprint"]),
        "Command": f"suite tune {given.name} --preset {plan.preset}",
    }
    if bounds:
        facts["Constraints"] = "; ".join(bounds)
    return facts


def _arguments(values: dict[str, Any]) -> str:
    name = values.pop("name")
    return name + (f" ({', '.join(f'{key}={value}' for key, value in values.items())})" if values else "")


def _range(name: str, plan: StudyPlan) -> str:
    one = plan.study.space[name]
    if one.choices is not None:
        text = "one of " + ", ".join(map(str, one.choices))
    else:
        text = f"{one.low:g} to {one.high:g}"
        text += f" in steps of {one.step:g}" if one.step else ""
        text += " (log)" if one.log else ""
    conditions = [f"{other} is {' or '.join(map(str, values))}" for other, values in one.when.items()]
    return text + (f" where {' and '.join(conditions)}" if conditions else "")


def _headings(plan: StudyPlan) -> list[str]:
    metrics = [f"{metric} ({METRICS[metric].unit})" for metric in plan.study.metrics]
    return ["trial", "state", *plan.study.space, *metrics, "last epoch", "AP then", "run", "remark"]


def _rows(plan: StudyPlan, study: "OptunaStudy") -> list[dict[str, Any]]:
    """A row a trial: its cells as text, and whether it is among the best."""
    best = {trial.number for trial in best_trials(study)}
    rows = []
    for record in records(study):
        params, measured, epochs = record["params"], record["measured"], record["epochs"]
        last = max(map(int, epochs), default=None)
        remark = record["reason"] or ""
        if record["state"] == "COMPLETE" and not record["feasible"]:
            remark = "breaks a constraint"
        cells = [
            str(record["number"]),
            record["state"].lower(),
            *[_number(params.get(name)) for name in plan.study.space],
            *[_number(measured.get(metric)) for metric in plan.study.metrics],
            "" if last is None else str(last),
            "" if last is None else _number(epochs[str(last)]),
            " ".join(record["run_ids"]),
            " ".join(remark.split()),
        ]
        rows.append({"cells": cells, "best": record["number"] in best})
    return rows


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _csv(plan: StudyPlan, rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_headings(plan))
    writer.writerows(row["cells"] for row in rows)
    return text.getvalue()
