"""Run identity: everything that can change a run's numbers changes it, and nothing else does.

The tables say what follows from a change: another run, another run with the same training, or nothing. What
only has a run evaluated again is in test_sources.py and tests/experiments/test_plan.py.
"""

import copy
import inspect
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.runner import Runner

from suite.data.dataset import Dataset, Split
from suite.errors import SuiteError
from suite.runs.configs import method_info, names
from suite.runs.identity import WATCHING_HOOKS, identify, training_digest
from suite.runs.options import spec_at
from suite.runs.resolve import resolve
from suite.runs.resources import Resources

ANOTHER_RUN, SAME_TRAINING, NOTHING = "another run", "another run, the same training", "nothing"
ONE_CPU = Resources(1, 0)


def described(**fingerprints):
    from pathlib import Path

    root = Path("/nowhere")
    train, val = (
        Split(root / "annotations.json", root / "images", 4, 9, fingerprints.get(name, name))
        for name in ("train", "val")
    )
    return Dataset("three", "shapes", root, train, val, ("disc", "ring", "rod"))


def identified(method="ltm", preset="mini", seed=0, change=None, data=None, resources=ONE_CPU, **options):
    data = data or described()
    spec = spec_at(method, preset, seed, options)
    config = resolve(spec, data)
    if change is not None:
        change(config)
    return identify(spec, config, data, resources)


def outcome(before, after):
    """What follows from the difference of two answers of ``identify``."""
    if before[0] == after[0]:
        assert before[1].digest() == after[1].digest()
        return NOTHING
    same = before[1].training_digest() == after[1].training_digest()
    return SAME_TRAINING if same else ANOTHER_RUN


def test_it_is_stable_and_readable():
    assert identified() == identified()
    assert identified()[0].startswith("ltm-s0-")


def test_every_method_has_its_own():
    methods = [method for method in names("methods") if "full_scale_only" not in method_info(method)]
    assert len({identified(method)[0] for method in methods}) == len(methods) > 10


def edit(path, value):
    """A change of the field at a dotted path; parents that are missing are made."""

    def change(config):
        *parents, last = path.split(".")
        for key in parents:
            config = config[int(key)] if isinstance(config, list) else config.setdefault(key, {})
        config[int(last) if isinstance(config, list) else last] = value

    return change


def hook(**fields):
    return lambda config: config["custom_hooks"].append(fields)


EMA = {"type": "EMAHook", "momentum": 0.001}
KEYS = {
    # Every argument of mmengine's Runner, which is every key that it reads from a config.
    "model": (edit("model.neck.out_channels", 8), ANOTHER_RUN),
    "work_dir": (edit("work_dir", "/elsewhere"), NOTHING),
    "train_dataloader": (edit("train_dataloader.batch_size", 3), ANOTHER_RUN),
    "val_dataloader": (edit("val_dataloader", {"batch_size": 1}), ANOTHER_RUN),
    "test_dataloader": (edit("test_dataloader.batch_size", 3), SAME_TRAINING),
    "train_cfg": (edit("train_cfg.max_epochs", 99), ANOTHER_RUN),
    "val_cfg": (edit("val_cfg", {"type": "ValLoop"}), ANOTHER_RUN),
    "test_cfg": (edit("test_cfg.fp16", True), SAME_TRAINING),
    "auto_scale_lr": (edit("auto_scale_lr.enable", True), ANOTHER_RUN),
    "optim_wrapper": (edit("optim_wrapper.optimizer.lr", 1.0), ANOTHER_RUN),
    "param_scheduler": (edit("param_scheduler.0.end", 7), ANOTHER_RUN),
    "val_evaluator": (edit("val_evaluator", {"type": "CocoMetric"}), ANOTHER_RUN),
    "test_evaluator": (edit("test_evaluator.type", "CocoMetric"), SAME_TRAINING),
    "default_hooks": (edit("default_hooks.param_scheduler", None), ANOTHER_RUN),
    "custom_hooks": (hook(**EMA), ANOTHER_RUN),
    "data_preprocessor": (edit("data_preprocessor", {"type": "ImgDataPreprocessor"}), ANOTHER_RUN),
    "load_from": (edit("load_from", "https://example.org/weights.pth"), ANOTHER_RUN),
    "resume": (edit("resume", True), ANOTHER_RUN),
    "launcher": (edit("launcher", "pytorch"), NOTHING),
    "env_cfg": (edit("env_cfg.cudnn_benchmark", True), ANOTHER_RUN),
    "log_processor": (edit("log_processor", {"window_size": 5}), NOTHING),
    "log_level": (edit("log_level", "DEBUG"), NOTHING),
    "visualizer": (edit("visualizer", {"type": "Visualizer"}), NOTHING),
    "default_scope": (edit("default_scope", "mmengine"), ANOTHER_RUN),
    "randomness": (edit("randomness.deterministic", True), ANOTHER_RUN),
    "experiment_name": (edit("experiment_name", "mine"), NOTHING),
    # Further keys of the suite's configs, read before the Runner is built.
    "runner_type": (edit("runner_type", "Runner"), ANOTHER_RUN),
    "custom_imports": (edit("custom_imports.imports", ["suite.detectors"]), NOTHING),
    "vis_backends": (edit("vis_backends", [{"type": "LocalVisBackend"}]), NOTHING),
}


def test_the_table_has_every_key_that_mmengine_reads():
    arguments = set(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"}
    assert arguments <= set(KEYS)
    assert set(resolve(spec_at("ltm", "mini", 0), described())) <= set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_the_config(key):
    change, expected = KEYS[key]
    assert outcome(identified(), identified(change=change)) == expected


FIELDS = {
    "loader workers": (edit("train_dataloader.num_workers", 7), NOTHING),
    "kept loader workers": (edit("train_dataloader.persistent_workers", True), NOTHING),
    "pinned memory": (edit("train_dataloader.pin_memory", True), NOTHING),
    "prefetching": (edit("train_dataloader.prefetch_factor", 4), NOTHING),
    "where images are": (edit("train_dataloader.dataset.data_prefix", {"img": "/elsewhere"}), NOTHING),
    "where annotations are": (edit("test_dataloader.dataset.ann_file", "/elsewhere.json"), NOTHING),
    "where the evaluator looks": (edit("test_evaluator.ann_file", "/elsewhere.json"), NOTHING),
    "a path elsewhere": (edit("train_dataloader.dataset.pipeline.0.ann_file", "/other.json"), ANOTHER_RUN),
    "a model's field of a neutral name": (edit("model.bbox_head.num_workers", 7), ANOTHER_RUN),
    "how processes start": (edit("env_cfg.mp_cfg.mp_start_method", "spawn"), NOTHING),
    "log interval": (edit("custom_hooks.0.interval", 3), NOTHING),
    "no telemetry": (lambda config: config["custom_hooks"].clear(), NOTHING),
    "checkpoint interval": (edit("default_hooks.checkpoint.interval", 5), NOTHING),
    "no default hooks": (lambda config: config["default_hooks"].clear(), NOTHING),
    "a logger switched off": (edit("default_hooks.logger", None), NOTHING),
    "a hook that trains": (hook(type="EMAHook"), ANOTHER_RUN),
    "a scoped hook that trains": (hook(type="mmengine.EMAHook"), ANOTHER_RUN),
    "a scoped hook that watches": (hook(type="mmengine.LoggerHook"), NOTHING),
    "the detector's NMS": (edit("model.test_cfg.nms.iou_threshold", 0.3), SAME_TRAINING),
    "the assigner": (edit("model.train_cfg", {"assigner": {"type": "ATSSAssigner"}}), ANOTHER_RUN),
    "start weights of the backbone": (
        edit("model.backbone.init_cfg", {"type": "Pretrained", "checkpoint": "torchvision://resnet18"}),
        ANOTHER_RUN,
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_the_config(name):
    change, expected = FIELDS[name]
    assert outcome(identified(), identified(change=change)) == expected


RULES = [
    (r"work_dir|launcher|log_level|experiment_name|(log_processor|visualizer|vis_backends)(\..*)?", NOTHING),
    (r"custom_imports\..*", NOTHING),
    (r"\w+_dataloader\.(num_workers|persistent_workers|prefetch_factor|pin_memory)", NOTHING),
    (r"\w+_dataloader\.dataset\.(ann_file|data_root|data_prefix\..*)", NOTHING),
    (r"\w+_evaluator\.ann_file", NOTHING),
    (r"env_cfg\.mp_cfg\..*", NOTHING),
    (r"(custom|default)_hooks\.\w+\.type", ANOTHER_RUN),  # another class: no hook that is known to watch
    (r"(custom|default)_hooks\..*", NOTHING),  # the shipped ones all watch
    (r"test_(cfg|dataloader|evaluator)\..*|model\.test_cfg\..*|model\..*\.score_voting", SAME_TRAINING),
    (r".*", ANOTHER_RUN),
]
"""What follows from changing the leaf of a shipped config at a path: the first rule that fits."""


def leaves(value, path=""):
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, (list, tuple))
        else ()
    )
    found = [leaf for key, item in items for leaf in leaves(item, f"{path}.{key}" if path else str(key))]
    return found if isinstance(value, (dict, list, tuple)) else [(path, value)]


def other(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return f"{value} otherwise" if isinstance(value, str) else "something"


def listed(value):
    """The value with lists in place of tuples, so that it can be edited."""
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    return [listed(item) for item in value] if isinstance(value, (list, tuple)) else value


def replaced(value, path, new):
    changed = listed(copy.deepcopy(value))
    edit(path, new)(changed)
    return changed


PAIRS = [
    (method, preset)
    for method in names("methods")
    for preset in names("presets")
    if preset in ("paper", "coco-1gpu") or "full_scale_only" not in method_info(method)
]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_leaf_of_any_shipped_config(data):
    method, preset = data.draw(st.sampled_from(PAIRS))
    spec, dataset = spec_at(method, preset, 0), described()
    config = resolve(spec, dataset)
    path, value = data.draw(st.sampled_from(leaves(config)))
    if re.fullmatch(r"custom_imports\.imports\.\d+", path):
        return  # a module that does not exist is refused
    before = identify(spec, config, dataset, ONE_CPU)
    after = identify(spec, replaced(config, path, other(value)), dataset, ONE_CPU)
    expected = next(found for pattern, found in RULES if re.fullmatch(pattern, path))
    assert outcome(before, after) == expected, (method, preset, path)
    if expected != NOTHING:
        named = path.partition(".")[0] if "_hooks." in path else path
        assert any(named in change for change in after[1].changes_since(before[1].as_dict()))


MACHINE = {
    "two GPUs instead of eight": (Resources(24, 8), Resources(24, 2), ANOTHER_RUN),
    "one GPU instead of two": (Resources(12, 2), Resources(12, 1), ANOTHER_RUN),
    "half a GPU instead of a whole one": (Resources(4, 1), Resources(4, 0.5), NOTHING),
    "a GPU instead of a CPU": (Resources(1, 0), Resources(1, 1), ANOTHER_RUN),
    "CPUs beside a GPU": (Resources(4, 1), Resources(12, 1), NOTHING),
    "threads on a CPU": (Resources(1, 0), Resources(2, 0), ANOTHER_RUN),
    "a fraction of a CPU": (Resources(1, 0), Resources(0.5, 0), NOTHING),
}


@pytest.mark.parametrize("name", MACHINE)
def test_what_the_run_is_given(name):
    one, two, expected = MACHINE[name]
    assert outcome(identified(resources=one), identified(resources=two)) == expected


DATA = {
    "seed": ({"seed": 1}, ANOTHER_RUN),
    "training data": ({"data": described(train="changed")}, ANOTHER_RUN),
    "validation data": ({"data": described(val="changed")}, SAME_TRAINING),
    "where the data are": ({"data": replace(described(), name="copy")}, NOTHING),
    "an option": ({"K": 20}, ANOTHER_RUN),
    "an option spelled out at its default": ({"K": 40}, NOTHING),
}


@pytest.mark.parametrize("name", DATA)
def test_what_it_is_asked_for(name):
    change, expected = DATA[name]
    assert outcome(identified(), identified(**change)) == expected


@pytest.mark.parametrize("options", [{"voting": False}, {"test_scales": "400-1800"}])
def test_options_of_the_evaluation_alone_share_the_training(options):
    before, after = identified("paa", "paper"), identified("paa", "paper", **options)
    assert outcome(before, after) == SAME_TRAINING
    assert after[1].training_digest() == training_digest(after[1].as_dict())


@pytest.mark.parametrize("options", [{"lr": 0.02}, {"separation": "b"}, {"schedule": "2x"}])
def test_other_options_are_another_training(options):
    assert outcome(identified("paa", "paper"), identified("paa", "paper", **options)) == ANOTHER_RUN


@pytest.mark.parametrize("field", ["load_from", "model.backbone.init_cfg"])
def test_start_weights_count_by_their_content(tmp_path, field):
    def starting_from(path):
        value = str(path) if field == "load_from" else {"type": "Pretrained", "checkpoint": str(path)}
        return identified(change=edit(field, value))

    one, two = tmp_path / "one.pth", tmp_path / "two.pth"
    one.write_bytes(b"weights")
    two.write_bytes(b"weights")
    assert outcome(starting_from(one), starting_from(two)) == NOTHING
    before = starting_from(two)
    two.write_bytes(b"others!")
    after = starting_from(two)
    assert outcome(before, after) == ANOTHER_RUN
    (change,) = after[1].changes_since(before[1].as_dict())
    assert change.startswith(field) and "sha256" in change
    assert outcome(identified(), starting_from(tmp_path / "absent.pth")) == ANOTHER_RUN


def test_own_code_that_the_config_imports_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "my_heads.py"
    own.write_text("WIDTH = 3\n")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("from my_package.losses import scale\n")
    (tmp_path / "my_package" / "losses.py").write_text("def scale():\n    return 1\n")

    def importing(*modules):
        return identified(change=edit("custom_imports.imports", ["suite.detectors", *modules]))

    before = importing("my_heads", "my_package")
    assert outcome(identified(), before) == ANOTHER_RUN
    own.write_text('"""A docstring."""\nWIDTH = 3  # a comment\n')
    assert outcome(before, importing("my_heads", "my_package")) == NOTHING
    own.write_text("WIDTH = 4\n")
    assert importing("my_heads", "my_package")[1].changes_since(before[1].as_dict()) == ["my_heads changed"]
    own.write_text("WIDTH = 3\n")
    (tmp_path / "my_package" / "losses.py").write_text("def scale():\n    return 2\n")
    after = importing("my_heads", "my_package")
    assert after[1].changes_since(before[1].as_dict()) == ["my_package.losses changed"]
    with pytest.raises(SuiteError, match=r"custom_imports.imports: there is no module 'my_hats'"):
        importing("my_hats")
    assert outcome(identified(), importing("sklearn")) == NOTHING, (
        "an installed package counts by its version"
    )


def test_a_preset_takes_no_hook_from_a_method(tmp_path, monkeypatch):
    """Presets set the intervals of hooks that watch: a method's own hook stays, before them."""
    import shutil

    from suite.runs import configs

    shutil.copytree(configs.CONFIGS, tmp_path / "configs")
    monkeypatch.setattr(configs, "CONFIGS", tmp_path / "configs")
    text = (
        '_base_ = "./ltm.py"\ncustom_hooks = [dict(type="EMAHook", momentum=0.1), dict(type="RunLogHook")]\n'
    )
    (tmp_path / "configs" / "methods" / "ltm_ema.py").write_text(
        text + 'suite = dict(label="LTM, EMA", paper="ltm_tpami2021", like="ltm")\n'
    )
    for preset in names("presets"):
        hooks = resolve(spec_at("ltm_ema", preset, 0), described())["custom_hooks"]
        assert hooks[0] == {"type": "EMAHook", "momentum": 0.1}, preset
        assert [one["type"] for one in hooks].count("RunLogHook") == 1
    smoke = resolve(spec_at("ltm_ema", "smoke", 0), described())["custom_hooks"]
    assert {"type": "RunLogHook", "interval": 2} in smoke
    assert outcome(identified(), identified("ltm_ema")) == ANOTHER_RUN


def test_changes_are_named():
    before, after = identified(), identified(K=20, resources=Resources(2, 2), data=described(train="changed"))
    changes = after[1].changes_since(before[1].as_dict())
    assert "model.bbox_head.bag_size: 40 -> 20" in changes
    assert "machine.processes: 1 -> 2" in changes and "machine.device: CPU -> GPU" in changes
    assert "the training images or annotations changed" in changes
    assert after[1].changes_since({"config": {}, "sources": {}}) == [
        "an earlier version of the suite wrote its identity"
    ]


def test_the_hooks_that_watch_are_hooks():
    from mmdet.registry import HOOKS

    import suite.telemetry
    import suite.training  # noqa: F401

    assert all(HOOKS.get(name) is not None for name in WATCHING_HOOKS)
