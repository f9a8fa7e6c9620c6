"""What makes a study the same study: trials of two definitions must not be mixed."""

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from suite.errors import SuiteError
from suite.files import read_json
from suite.locks import locked
from suite.tuning.samplers import make_pruner, make_sampler
from suite.tuning.storage import open_storage
from suite.tuning.study_plan import StudyPlan

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.storages import BaseStorage

_MAY_CHANGE = {"title", "preset", "trials", "parallel", "cpus", "gpus"}
_SHOWN = 6


def definition(plan: StudyPlan) -> dict[str, Any]:
    """All that a trial's number depends on but its parameters, and how these are drawn."""
    run = plan.run({}, plan.study.seeds[0])
    identity = {key: value for key, value in run.identity.as_dict().items() if key != "evaluation"}
    study = plan.study.model_dump(mode="json", exclude=_MAY_CHANGE)
    return {**study, "preset": plan.preset, "identity": identity}


def fingerprint(defined: dict[str, Any]) -> str:
    """SHA-256 of a definition, its first 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(defined, sort_keys=True).encode()).hexdigest()[:12]


def differences(before: dict[str, Any], plan: StudyPlan) -> list[str]:
    """What differs between an earlier definition and a plan's, one short phrase each."""
    found = []
    now = definition(plan)
    for key in sorted({*before, *now} - {"identity"}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [
                f"{key}.{name}: {_text(old.get(name))} -> {_text(new.get(name))}"
                for name in sorted({*old, *new})
                if old.get(name) != new.get(name)
            ]
        elif old != new:
            found.append(f"{key}: {_text(old)} -> {_text(new)}")
    run = plan.run({}, plan.study.seeds[0])
    return found + run.identity.changes_since(before.get("identity", {}))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        # Fields that are not set say nothing.
        value = {name: one for name, one in value.items() if one not in (None, {}, False)}
    return "absent" if value is None else json.dumps(value)


@contextlib.contextmanager
def only_driver(plan: StudyPlan) -> Iterator[None]:
    """Hold the study's lock, which ends with this process however it ends.

    Raises:
        SuiteError: Another process runs the study.
    """
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(f"{plan.folder}: cannot be made ({error.strerror}).", "Make it writable.") from error
    busy = SuiteError(
        f"{plan.folder}: another process runs study {plan.study.name!r} at preset {plan.preset!r}.",
        "Wait for it, or stop it; this command then goes on with the study.",
    )
    with locked(plan.folder / ".lock", busy):
        yield


def open_study(plan: StudyPlan, url: str | None) -> "OptunaStudy":
    """Open the study, or begin it; the caller holds :func:`only_driver`.

    Raises:
        SuiteError: The storage cannot be used, the study was begun with another definition, or the storage
            lacks trials that the study had.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_storage(plan.folder, url)
    known = optuna.get_all_study_names(storage)
    if plan.key in known:
        _refuse_another(plan, storage)
    study = optuna.create_study(
        study_name=plan.key,
        storage=storage,
        directions=[one.direction for one in plan.study.objectives],
        pruner=make_pruner(plan.study),
        load_if_exists=True,
    )
    trials = study.get_trials(deepcopy=False)
    _refuse_loss(plan, len(trials))
    study.sampler = make_sampler(plan.study, len(trials))
    if "definition" not in study.user_attrs:
        defined = definition(plan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([one.metric for one in plan.study.objectives])
        study.set_user_attr("fingerprint", fingerprint(defined))
        study.set_user_attr("definition", defined)  # last: with it the study is begun
    return study


def _refuse_another(plan: StudyPlan, storage: "BaseStorage") -> None:
    attributes = storage.get_study_user_attrs(storage.get_study_id_from_name(plan.key))
    if "definition" not in attributes:
        return  # ended before its first trial
    changes = differences(attributes["definition"], plan)
    if changes:
        more = f"\n  and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        listed = "".join(f"\n  {change}" for change in changes[:_SHOWN])
        raise SuiteError(
            f"{plan.path}: study {plan.study.name!r} was begun with another definition at preset "
            f"{plan.preset!r}:{listed}{more}",
            f"Undo the change; or give the changed study a name of its own; or delete {plan.folder} to start "
            "it again: trials whose runs are finished then cost nothing.",
        )


def _refuse_loss(plan: StudyPlan, trials: int) -> None:
    """Refuse a storage that has fewer trials than the study's own list names."""
    path = plan.folder / "trials.json"
    if not path.exists():
        return
    try:
        listed = len(read_json(path))
    except (SuiteError, TypeError):
        return  # only a copy: written again
    if listed > trials:
        raise SuiteError(
            f"{plan.folder}: the storage has {trials} trials, and {path.name} lists {listed}: the journal "
            "was cut short, or the study was begun in another storage.",
            f"Name that storage with --storage, or put back a copy of the journal; or delete {path} to go on "
            "with what is there: trials whose runs are finished then cost nothing.",
        )
