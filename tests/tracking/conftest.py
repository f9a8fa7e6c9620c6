import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from suite.tracking.ui import free_port, server
from suite.workspace import Workspace


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store without runs; making one takes seconds, copying it does not."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def tracking_server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real tracking server that several modules share: each has runs or presets of its own names."""
    root = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, root / "mlflow.db")
    with server(Workspace(root), f"sqlite:///{root / 'mlflow.db'}", free_port(5100)) as (url, _):
        yield url


@pytest.fixture
def workspace(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace whose store is its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return Workspace(tmp_path)
