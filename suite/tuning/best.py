"""``best.yaml``: what a study found, in the form that a row of an experiment can name."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from suite.experiments.tuned import BEST, Best, Counts
from suite.files import write_atomically
from suite.tuning.study import tidy
from suite.tuning.study_plan import StudyPlan

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.trial import FrozenTrial

PARETO = "pareto.yaml"


class _Dumper(yaml.SafeDumper):
    """Quotes strings that a reader could take for numbers, such as a fingerprint 9629532748e16."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    try:
        float(text)
    except ValueError:
        return dumper.represent_str(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


_Dumper.add_representer(str, _represent_text)


def counts(study: "OptunaStudy") -> Counts:
    """How the trials of a study ended."""
    states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
    return Counts(
        complete=states.count("COMPLETE"), pruned=states.count("PRUNED"), failed=states.count("FAIL")
    )


def best_trials(study: "OptunaStudy") -> "list[FrozenTrial]":
    """The best feasible trial, or with several objectives the Pareto front; empty if there is none."""
    if len(study.directions) > 1:
        return sorted(study.best_trials, key=lambda trial: trial.number)
    try:
        return [study.best_trial]
    except ValueError:
        return []


def write_best(plan: StudyPlan, study: "OptunaStudy") -> Path | None:
    """Write ``best.yaml``, or ``pareto.yaml`` with several objectives, beside the trials and into the report.

    Returns:
        The report's file; None, and there is none, while no trial is complete and keeps the constraints.
    """
    several = len(plan.study.objectives) > 1
    places = [folder / (PARETO if several else BEST) for folder in (plan.folder, plan.report_folder)]
    found = best_trials(study)
    if not found:
        for path in places:
            path.unlink(missing_ok=True)
        return None
    common, command = _common(plan, study), f"suite tune {plan.study.name} --preset {plan.preset}"
    if several:
        content = {**common, "objectives": [one.model_dump() for one in plan.study.objectives]}
        content["front"] = [
            {**_own(plan, trial), "values": dict(trial.user_attrs["measured"])} for trial in found
        ]
    else:
        objective = plan.study.objectives[0]
        content = {
            **common,
            "metric": objective.metric,
            "direction": objective.direction,
            "value": round(found[0].values[0], 6),
            **_own(plan, found[0]),
        }
        Best.model_validate(content)
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=110)
    for path in places:
        write_atomically(path, f"# What `{command}` found; written by it.\n{_warning(plan)}{text}")
    return places[-1]


def _warning(plan: StudyPlan) -> str:
    if plan.study.split == "holdout":
        return ""
    return "# TUNED ON THE REPORTED SPLIT: numbers of these parameters on it are too good.\n"


def _common(plan: StudyPlan, study: "OptunaStudy") -> dict[str, Any]:
    return {
        "study": plan.study.name,
        "fingerprint": study.user_attrs["fingerprint"],
        "method": plan.study.method,
        "preset": plan.preset,
        "split": plan.study.split,
        "evaluated_on": plan.split_text,
        "dataset": plan.dataset.fingerprint,
        "constraints": {one.metric: one.at_most for one in plan.study.constraints},
        "trials": counts(study).model_dump(),
        "seeds": list(plan.study.seeds),
    }


def _own(plan: StudyPlan, trial: "FrozenTrial") -> dict[str, Any]:
    drawn = trial.user_attrs["options"]
    parameters = {**plan.study.options, **drawn}
    return {
        "trial": trial.number,
        "parameters": {name: _plain(value) for name, value in parameters.items()},
        "run_ids": list(trial.user_attrs["run_ids"]),
    }


def _plain(value: Any) -> Any:
    return tidy(value) if isinstance(value, float) and tidy(value) == value else value
