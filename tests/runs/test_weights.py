"""Known pretrained weights: every config's are listed, files are checked, identity does not see the disk."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from suite.errors import SuiteError
from suite.runs import weights
from suite.runs.configs import CONFIGS, load, names
from suite.runs.identity import identify
from suite.runs.options import spec_at
from suite.runs.resolve import compose
from suite.runs.resources import Resources
from suite.runs.spec import RunSpec
from suite.runs.weights import RANDOM, Weights, WeightStore, known_weights, start_weights, weights_named

CONTENT = b"weights"
R50 = "torchvision://resnet50"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightStore:
    """A folder for two small files: ``a://whole`` with its whole hash known, ``a://unhashed`` with none."""
    table = {
        "a://whole": Weights(
            "a://whole", "whole.pth", ["http://a/whole.pth"], 1, {}, hashlib.sha256(CONTENT).hexdigest()
        ),
        "a://unhashed": Weights("a://unhashed", "unhashed.pth", ["http://a/unhashed.pth"], 1, {}),
    }
    monkeypatch.setattr(weights, "known_weights", lambda: table)
    return WeightStore(tmp_path / "weights")


def test_every_shipped_config_starts_from_known_weights() -> None:
    found = set()
    for file in CONFIGS.glob("**/*.py"):
        kind, name = str(file.parent.relative_to(CONFIGS)), file.stem
        found |= set(start_weights(load(kind, name)))
    for preset in names("presets"):  # some say it in part only
        found |= set(start_weights(compose(spec_at("retinanet", preset, 0))))
    assert found == set(known_weights())
    assert R50 in start_weights(load("methods", names("methods")[0]))


def test_the_table_is_consistent() -> None:
    for entry in known_weights().values():
        assert len(entry.sha256) in (0, 8, 64)
        assert bool(entry.urls) is not bool(entry.made_by)
        assert entry.made_by or entry.convert or entry.offered == entry.file
        if entry.sha256:  # as torch.hub names files
            assert entry.file.endswith(f"-{entry.sha256[:8]}.pth")


MADE = "shapes://resnet18_quarter"


def made_file(store: WeightStore, says: str) -> None:
    store.folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(store.path(MADE), "w") as archive:
        archive.writestr("archive/data.pkl", b"..." + says.encode())


def test_weights_made_here_count_by_the_code_that_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, before = WeightStore(tmp_path / "weights"), weights_named(MADE).identity
    assert before.startswith(f"{MADE} made by ")
    assert store.missing([MADE]) == {MADE: "not made yet"}
    assert f"suite weights --names {MADE}" in store.remedy(MADE)
    made_file(store, before)
    assert store.missing([MADE]) == {}
    monkeypatch.setattr(weights, "code_digest", lambda path: "other")
    assert weights_named(MADE).identity != before
    assert "was made by other code" in store.problem(MADE)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SuiteError, match=r"'torchvision://resnet5' are unknown. Did you mean '.*resnet50'"):
        weights_named("torchvision://resnet5")


def test_what_is_missing_says_why_and_how_to_mend_it(store: WeightStore) -> None:
    assert store.missing(["a://whole"]) == {"a://whole": f"not in {store.folder}"}
    remedy = store.remedy("a://whole")
    for part in ("suite weights --names a://whole", "http://a/whole.pth", str(store.path("a://whole"))):
        assert part in remedy
    assert hashlib.sha256(CONTENT).hexdigest() in remedy


def test_a_file_counts_by_its_hash_and_is_hashed_once(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.folder.mkdir()
    store.path("a://whole").write_bytes(CONTENT)
    assert store.missing(["a://whole"]) == {}
    with monkeypatch.context() as patch:
        patch.setattr(weights, "sha256", lambda path: pytest.fail("hashed again"))
        assert WeightStore(store.folder).missing(["a://whole"]) == {}
    store.path("a://whole").write_bytes(CONTENT + b"!")
    assert "is another file: SHA-256" in store.problem("a://whole")


def test_random_numbers_are_taken_by_rehearsals_only(store: WeightStore) -> None:
    store.folder.mkdir()
    for name in ("a://whole", "a://unhashed"):
        with zipfile.ZipFile(store.path(name), "w") as archive:
            archive.writestr("archive/data.pkl", b"..." + RANDOM.encode())
        assert "random numbers for a rehearsal" in store.problem(name)
        assert WeightStore(store.folder, random=True).problem(name) == ""


@pytest.mark.parametrize(
    ("name", "problem", "remedy"),
    [
        ("torchvision://resnet18", "unknown to the suite", "Known: a://whole"),
        ("/nowhere/mine.pth", "no such file", "Put the file there"),
    ],
)
def test_what_cannot_be_downloaded(name: str, problem: str, remedy: str, store: WeightStore) -> None:
    assert store.problem(name) == problem
    assert remedy in store.remedy(name)


def test_other_servers_and_own_files_are_left_to_mmengine(store: WeightStore, tmp_path: Path) -> None:
    (tmp_path / "own.pth").write_bytes(CONTENT)
    assert store.missing(["https://a/b.pth", str(tmp_path / "own.pth")]) == {}


def test_only_known_names_become_paths(store: WeightStore) -> None:
    def config(checkpoint: str) -> dict[str, object]:
        return {"model": [{"init_cfg": {"type": "Pretrained", "checkpoint": checkpoint}, "other": (1, 2)}]}

    given = config("a://whole")
    assert store.localised(given) == config(str(store.folder.resolve() / "whole.pth"))
    assert given == config("a://whole")
    assert store.localised(config("https://a/b.pth")) == config("https://a/b.pth")


def test_the_identity_is_the_same_whether_the_file_is_there_or_not(dataset, tmp_path, monkeypatch) -> None:
    def run_id(checkpoint: str) -> str:
        init = {"type": "Pretrained", "checkpoint": checkpoint}
        config = {"model": {"backbone": {"type": "ResNet", "init_cfg": init}}}
        return identify(RunSpec("ltm", "mini", 0), config, dataset, Resources(1, 0))[0]

    monkeypatch.chdir(tmp_path)
    before = run_id(R50)
    monkeypatch.setenv("SUITE_WEIGHTS", str(tmp_path))
    (tmp_path / known_weights()[R50].file).write_bytes(CONTENT)
    assert run_id(R50) == before
    assert run_id("torchvision://resnet101") != before
    other = {R50: Weights(R50, "other.pth", ["http://a/other.pth"], 1, {}, "ab" * 32)}
    monkeypatch.setattr("suite.runs.identity.known_weights", lambda: other)
    assert run_id(R50) != before
