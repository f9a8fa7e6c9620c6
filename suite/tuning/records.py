"""What a study's folder says about it: ``study.json`` and ``trials.json``, copies of what the storage has."""

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from suite.files import write_json
from suite.tuning.study_plan import StudyPlan

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.trial import FrozenTrial


def describe(options: Mapping[str, Any]) -> str:
    """Options for people: ``K=12 beta=0.4312 lr=0.002``."""
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in options.items()
    )


def summary(plan: StudyPlan, trial: "FrozenTrial") -> str:
    """A complete trial for people: ``trial 7: AP 41.23; K=12 beta=0.4312``."""
    numbers = ", ".join(f"{metric} {value:.4g}" for metric, value in trial.user_attrs["measured"].items())
    return (
        f"trial {trial.number}: {numbers}; {describe({**plan.study.options, **trial.user_attrs['options']})}"
    )


def records(study: "OptunaStudy") -> list[dict[str, Any]]:
    """One record a trial, by number.

    ``state`` is Optuna's; ``value`` is the first objective's, of a pruned trial its last reported AP;
    ``options`` are its parameters as the run was given them, ``measured`` all metrics that were looked at.
    """
    return [_record(trial) for trial in study.get_trials(deepcopy=False)]


def _record(trial: "FrozenTrial") -> dict[str, Any]:
    attributes = trial.user_attrs
    run_ids = attributes.get("run_ids", [])
    return {
        "number": trial.number,
        "state": trial.state.name,
        "params": dict(attributes.get("options", trial.params)),
        "value": trial.values[0] if trial.values else None,
        "values": trial.values,
        "measured": attributes.get("measured", {}),
        "feasible": all(value <= 0 for value in trial.constraints.values()),
        "epochs": {str(epoch): value for epoch, value in sorted(trial.intermediate_values.items())},
        "reason": attributes.get("reason"),
        "run_id": run_ids[0] if run_ids else None,
        "run_ids": run_ids,
        "started": _utc(trial.datetime_start),
        "ended": _utc(trial.datetime_complete),
    }


def _utc(time: datetime.datetime | None) -> str | None:
    """A time of Optuna's, which are local ones without a zone."""
    return None if time is None else time.astimezone(datetime.timezone.utc).isoformat(timespec="seconds")


def write_records(plan: StudyPlan, study: "OptunaStudy") -> None:
    """Write ``trials.json``."""
    write_json(plan.folder / "trials.json", records(study))


def write_description(plan: StudyPlan, study: "OptunaStudy", storage: str) -> None:
    """Write ``study.json``.

    Args:
        plan: The study at its preset.
        study: The study in its storage.
        storage: Where the trials are kept, without a password.
    """
    given = plan.study
    write_json(
        plan.folder / "study.json",
        {
            "name": given.name,
            "key": plan.key,
            "title": given.title,
            "preset": plan.preset,
            "method": given.method,
            "options": given.options,
            "seeds": given.seeds,
            "split": given.split,
            "split_text": plan.split_text,
            "objectives": [one.model_dump() for one in given.objectives],
            "constraints": [one.model_dump() for one in given.constraints],
            "sampler": given.sampler.model_dump(),
            "pruner": given.pruner.model_dump(),
            "space": {
                name: dimension.model_dump(exclude_defaults=True) for name, dimension in given.space.items()
            },
            "dataset": {"name": plan.dataset.name, "fingerprint": plan.dataset.fingerprint},
            "fingerprint": study.user_attrs["fingerprint"],
            "storage": storage,
        },
    )
