"""mmdet's registries, filled, for tests that build heads."""

import pytest
from mmengine.registry import init_default_scope

import suite.detectors  # noqa: F401  (registers heads, losses and assigners)


@pytest.fixture(autouse=True, scope="session")
def mmdet_scope() -> None:
    init_default_scope("mmdet")
