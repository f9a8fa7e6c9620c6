"""optuna-dashboard for one study's storage, on this machine only."""

from pathlib import Path

from rich.console import Console

from suite.errors import SuiteError
from suite.tuning.storage import JOURNAL, open_storage
from suite.tuning.study_plan import plan_study
from suite.workspace import Workspace

HOST = "127.0.0.1"


def serve(
    name: str, preset: str | None, coco_root: Path | None, workspace: Workspace, out: Console,
    *, storage: str | None, port: int,
) -> None:  # fmt: skip
    """Serve a study's pages until Ctrl-C, beside a `suite tune` that runs it or after it.

    Raises:
        SuiteError: The study has not begun, the storage cannot be used, or the port is taken.
    """
    plan = plan_study(name, preset, coco_root, workspace)
    if storage is None and not (plan.folder / JOURNAL).exists():
        raise SuiteError(
            f"{plan.folder / JOURNAL}: study {name!r} has not begun at preset {plan.preset!r}.",
            f"Begin it with `suite tune {name} --preset {plan.preset}`, or name its --storage.",
        )
    kept = open_storage(plan.folder, storage, writes=False)
    from optuna_dashboard import run_server  # type: ignore[import-untyped]

    out.print(f"Study {plan.key}: http://{HOST}:{port}/dashboard/ (Ctrl-C ends it)", highlight=False)
    try:
        run_server(kept, host=HOST, port=port)
    except OSError as error:
        raise SuiteError(f"--port {port}: {error.strerror}.", "Choose another --port.") from error
