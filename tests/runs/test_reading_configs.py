"""Config files are read and merged as mmengine does it."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from suite.runs.configs import CONFIGS, fresh, merged, read

FILES = sorted(path for path in CONFIGS.rglob("*.py") if "_base_" not in path.parts)


def by_mmengine(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = Config.fromfile(path, import_custom_modules=False).to_dict()
    return config


def written(config: Any) -> str:
    """With the order of its keys, which the runs' config files keep."""
    return repr(config)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_shipped_file(path: Path) -> None:
    assert written(read(path)) == written(by_mmengine(path))


@pytest.mark.parametrize(
    "text",
    [
        '_base_ = "./base.py"\nx = dict(a={{_base_.x.b}})\n',
        '_base_ = ["base.py"]\ny = _base_.x.b\n',
        '_base_ = "base.py"\nimport math\nx = dict(_delete_=True, pi=math.pi)\ndef half(v): return v / 2\n',
    ],
)
def test_what_a_file_of_ones_own_may_have(text: str, tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text("x = dict(a=1, b=[dict(c=2)])\n")
    path = tmp_path / "own.py"
    path.write_text(text)
    assert written(read(path)) == written(by_mmengine(path))


def test_a_key_that_two_bases_set_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    path = tmp_path / "own.py"
    path.write_text('_base_ = ["one.py", "two.py"]\n')
    with pytest.raises(KeyError):
        by_mmengine(path)
    with pytest.raises(KeyError, match="two of its bases set x"):
        read(path)


KEYS = st.sampled_from(["a", "b", "0", "1"])
CONFIG = st.recursive(
    st.integers(0, 3),
    lambda inner: (
        st.dictionaries(KEYS, inner, max_size=3)
        | st.lists(inner, max_size=2)
        | st.builds(lambda one: {"_delete_": True, **one}, st.dictionaries(KEYS, inner, max_size=2))
    ),
    max_leaves=12,
)
DICT = st.dictionaries(KEYS, CONFIG, max_size=3)


@given(DICT, DICT)
def test_merging(config: dict[str, Any], changes: dict[str, Any]) -> None:
    before = copy.deepcopy((config, changes))
    whole = Config(copy.deepcopy(config))
    try:
        whole.merge_from_dict(copy.deepcopy(changes))
        expected = whole.to_dict()
    except (KeyError, TypeError, AttributeError):
        with pytest.raises((KeyError, TypeError)):
            merged(config, changes)
    else:
        assert written(merged(config, changes)) == written(expected)
    assert (config, changes) == before


def test_a_fresh_copy_shares_nothing() -> None:
    config = {"a": [{"b": (1, [2])}]}
    copied = fresh(config)
    assert copied == config
    copied["a"][0]["b"][1].append(3)
    assert config == {"a": [{"b": (1, [2])}]}
