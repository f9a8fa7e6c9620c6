"""Run identity: everything that can change a result changes it, nothing else does."""

import shutil

import pytest

from suite.experiments import identity as module
from suite.runs.identity import identify
from suite.runs.resolve import method_info, names, resolve
from suite.runs.spec import RunSpec


def run_id(dataset, method="ltm", seed=0, change=lambda config: None, fingerprint=None, **options):
    spec = RunSpec(method, "mini", seed, options)
    config = resolve(spec, dataset)
    change(config)
    return identify(spec, config, fingerprint or dataset.fingerprint)[0]


def test_it_is_stable_and_readable(dataset):
    assert run_id(dataset) == run_id(dataset)
    assert run_id(dataset).startswith("ltm-s0-")


def test_every_method_has_its_own(dataset):
    methods = [method for method in names("methods") if "full_scale_only" not in method_info(method)]
    assert len({run_id(dataset, method) for method in methods}) == len(methods) > 10


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"K": 40},
        {"fingerprint": "0" * 64},
        {"change": lambda config: config["train_dataloader"].update(batch_size=3)},
        {"change": lambda config: config["optim_wrapper"]["optimizer"].update(lr=1.0)},
        {"change": lambda config: config["train_cfg"].update(max_epochs=99)},
    ],
)
def test_what_can_change_the_result_changes_it(dataset, other):
    assert run_id(dataset, **other) != run_id(dataset)


def test_an_option_spelled_out_at_its_default_is_the_same_run(dataset):
    assert run_id(dataset, K=20) == run_id(dataset)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["train_dataloader"].update(num_workers=7),
        lambda config: config["test_dataloader"]["dataset"].update(ann_file="/elsewhere.json"),
        lambda config: config.update(work_dir="/elsewhere"),
        lambda config: config["default_hooks"].clear(),
    ],
)
def test_paths_workers_and_logging_do_not(dataset, change):
    assert run_id(dataset, change=change) == run_id(dataset)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package's sources that a test may edit."""
    copy = tmp_path / "suite"
    for folder in module.SOURCES:
        shutil.copytree(module.PACKAGE / folder, copy / folder)
    monkeypatch.setattr(module, "PACKAGE", copy)
    module._modules.cache_clear()
    yield copy
    module._modules.cache_clear()


def test_a_code_change_makes_only_its_users_stale(dataset, package):
    before = {method: run_id(dataset, method) for method in ("ltm", "retinanet")}
    head = package / "detectors" / "ltm_head.py"
    head.write_text(head.read_text() + "\nLATER = 1\n")
    module._modules.cache_clear()
    assert run_id(dataset, "ltm") != before["ltm"]
    assert run_id(dataset, "retinanet") == before["retinanet"]


def test_a_change_in_an_imported_module_counts(dataset, package):
    before = {method: run_id(dataset, method) for method in ("ltm", "retinanet")}
    imported = package / "detectors" / "mean_max.py"
    imported.write_text(imported.read_text() + "\nLATER = 1\n")
    module._modules.cache_clear()
    assert run_id(dataset, "ltm") != before["ltm"]
    assert run_id(dataset, "retinanet") == before["retinanet"]


@pytest.mark.parametrize("name", ["training/metric.py", "training/coverage.py", "detectors/candidates.py"])
def test_code_that_only_evaluates_is_no_part_of_the_run_id(dataset, package, name):
    spec = RunSpec("ltm", "mini", 0)
    before_id, before = identify(spec, resolve(spec, dataset), dataset.fingerprint)
    (package / name).write_text((package / name).read_text() + "\nLATER = 1\n")
    module._modules.cache_clear()
    after_id, after = identify(spec, resolve(spec, dataset), dataset.fingerprint)
    assert after_id == before_id
    assert after.evaluation_changes_since(before.as_dict()) == [f"{name} changed"]
    assert before.evaluation_changes_since(before.as_dict()) == []
    assert not set(before.evaluation) & set(before.sources)


def test_comments_and_docstrings_do_not(dataset, package):
    before = run_id(dataset)
    head = package / "detectors" / "ltm_head.py"
    head.write_text('"""Another docstring."""\n# a comment\n' + head.read_text().split('"""', 2)[2])
    module._modules.cache_clear()
    assert run_id(dataset) == before


def test_changes_are_named(dataset):
    spec = RunSpec("ltm", "mini", 0)
    _, earlier = identify(spec, resolve(spec, dataset), dataset.fingerprint)
    other = RunSpec("ltm", "mini", 0, {"K": 40})
    _, now = identify(other, resolve(other, dataset), dataset.fingerprint)
    changes = now.changes_since(earlier.as_dict())
    assert any("20 -> 40" in change for change in changes), changes


def training(dataset, method="paa", preset="paper", seed=0, fingerprint=None, **options):
    spec = RunSpec(method, preset, seed, options)
    return identify(spec, resolve(spec, dataset), fingerprint or dataset.fingerprint)


@pytest.mark.parametrize("options", [{"voting": False}, {"test_scales": "400-1800"}])
def test_options_of_the_evaluation_alone_share_the_training(dataset, options):
    (one_id, one), (other_id, other) = training(dataset), training(dataset, **options)
    assert one_id != other_id
    assert one.training_digest() == other.training_digest() == module.training_digest(other.as_dict())


@pytest.mark.parametrize(
    "other",
    [
        {"lr": 0.02},
        {"separation": "b"},
        {"schedule": "2x"},
        {"seed": 1},
        {"fingerprint": "0" * 64},
        {"method": "atss"},
        {"method": "faster_rcnn"},
    ],
)
def test_whatever_training_sees_makes_another_training(dataset, other):
    assert training(dataset, **other)[1].training_digest() != training(dataset)[1].training_digest()
