"""What code is part of a run: what trains, what evaluates, and nothing that only watches."""

import ast
import sys
from pathlib import Path

import pytest

import suite
from suite.runs import sources as module
from suite.runs.configs import method_info, names
from suite.runs.fast import make_fast
from suite.runs.identity import _canonical, _parts
from suite.runs.options import spec_at
from suite.runs.resolve import config_source, resolve
from suite.runs.sources import sources

PACKAGE = Path(suite.__file__).parent
METHODS = [name for name in names("methods") if "full_scale_only" not in method_info(name)]
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for folder in ("detectors", "training", "inference", "evaluation")
    for path in (PACKAGE / folder).rglob("*.py")
    if path.stem != "__init__"
)
"""Those that may be part of a run: all that its identity looks at."""

WATCHES = {
    "suite.training.adopted", "suite.training.checkpoint", "suite.training.environment",
    "suite.training.export", "suite.training.hooks", "suite.training.stopwatch",
    "suite.training.weight_files", "suite.training.backbone_pretraining", "suite.training.worker",
}  # fmt: skip
"""Modules of ``training`` that write files beside the training, start it, or do something else than train."""

NOT_IN_A_RUN = {
    "suite.evaluation": {
        "bins", "bootstrap", "comparison", "comparison_report", "contrasts", "error_types", "iou_prediction",
        "matches", "measurements", "metrics", "replicates", "report", "slices", "test_dev", "uncertainty",
    },
}  # fmt: skip
"""Modules of folders that evaluate which no run executes: they measure what runs have left."""


def expected(name):
    """Whether a module trains, evaluates, or does nothing to a run's numbers."""
    folder, _, stem = name.rpartition(".")
    if name in WATCHES or stem in NOT_IN_A_RUN.get(folder, ()):
        return "nothing"
    return {
        "suite.detectors": "trains", "suite.training": "trains",
        "suite.inference": "evaluates", "suite.evaluation": "evaluates",
    }.get(folder, "nothing")  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Method -> the two parts of its config at preset mini."""
    from suite.data.dataset import Dataset, Split

    split = Split(Path("a.json"), Path("images"), 4, 9, "0")
    dataset = Dataset("three", "shapes", Path("."), split, split, ("disc", "ring", "rod"))
    specs = {method: spec_at(method, "mini", 0) for method in METHODS}
    specs["ltm at several scales"] = spec_at("ltm", "paper", 0, {"test_scales": "400-1200"})
    configs = {name: resolve(spec, dataset) for name, spec in specs.items()}
    make_fast(configs.setdefault("ltm, fast", resolve(specs["ltm"], dataset)))
    return {name: _parts(_canonical(config)) for name, config in configs.items()}


def edited(name, change, tmp_path, monkeypatch):
    """The suite's modules as they would be with one of them edited."""
    path = PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py")
    copy = tmp_path / path.name
    copy.write_text(change(path.read_text()))
    files, classes = module._index()
    monkeypatch.setattr(module, "_index", lambda: ({**files, name: copy}, classes))


@pytest.fixture(scope="module")
def before(parts):
    """Method -> its modules as they are."""
    return {method: sources(*both) for method, both in parts.items()}


EDITS = {
    "a comment": lambda text: f"# another comment\n{text}\n# and one more\n",
    "a docstring": lambda text: text.replace('"""', '"""Otherwise: ', 1),
    "a constant": lambda text: f"{text}\nLATER = 1\n",
}


def test_no_other_module_is_looked_at():
    files, _ = module._index()
    assert sorted(files) == MODULES
    assert all(path.is_relative_to(PACKAGE) for path in files.values())


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_module(name, edit, parts, before, tmp_path, monkeypatch):
    edited(name, EDITS[edit], tmp_path, monkeypatch)
    after = {method: sources(*both) for method, both in parts.items()}
    trained_again = {method for method in parts if after[method].training != before[method].training}
    evaluated_again = {method for method in parts if after[method].evaluation != before[method].evaluation}
    effect = expected(name) if edit == "a constant" else "nothing"
    assert bool(trained_again) == (effect == "trains"), trained_again
    assert bool(evaluated_again) == (effect == "evaluates"), evaluated_again


STALE = {
    "suite.detectors.ltm_head": {"ltm", "ltm_positive"},
    "suite.detectors.matching_loss": {"ltm", "ltm_positive", "ltm_af"},
    "suite.detectors.anchor_bag_head": {"ltm", "ltm_positive", "free_anchor"},
    "suite.detectors.separation": {"paa"},
    "suite.detectors.bags": {"ltm", "ltm_positive", "ltm_af", "free_anchor"},
    "suite.detectors.topk_assigner": {"retinanet_topk"},
    "suite.training.data": set(METHODS),
    "suite.training.fast": set(),
}


@pytest.mark.parametrize("name", STALE)
def test_only_the_users_of_a_module_are_trained_again(name, parts, tmp_path, monkeypatch):
    before = {method: sources(*both).training for method, both in parts.items()}
    edited(name, EDITS["a constant"], tmp_path, monkeypatch)
    changed = {method for method, both in parts.items() if sources(*both).training != before[method]}
    assert changed - {"ltm at several scales", "ltm, fast"} == STALE[name]


def test_every_registered_class_is_known():
    files, classes = module._index()
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(
                "register_module" in ast.unparse(decorator) for decorator in node.decorator_list
            ):
                assert classes[node.name] == name
    assert len(classes) > 15


def test_an_attributes_docstring_and_layout_do_not_count(tmp_path):
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text('LIMIT = 3\n"""How many."""\n\n\nclass A:\n    x = 1\n    """One."""\n')
    two.write_text("LIMIT = (3)\nclass A:\n    x=1\n")
    assert module._read(one) == module._read(two)
    two.write_text("LIMIT = 4\nclass A:\n    x=1\n")
    assert module._read(one) != module._read(two)


def test_a_text_that_is_used_counts(tmp_path):
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text('def name():\n    return "a"\n')
    two.write_text('def name():\n    return "b"\n')
    assert module._read(one).digest != module._read(two).digest


class Recorder:
    """Notes which of the suite's modules execute a function while it is active."""

    def __init__(self):
        self.modules = set()

    def __enter__(self):
        sys.setprofile(self._note)
        return self

    def __exit__(self, *error):
        sys.setprofile(None)

    def _note(self, frame, event, argument):
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith("suite.") and frame.f_code.co_name != "<module>":
            self.modules.add(name)


CORE = ["ltm", "atss", "paa"] + [
    pytest.param(method, marks=pytest.mark.slow)
    for method in ("retinanet", "retinanet_topk", "free_anchor", "ltm_af")
]
NOT_REACHED = {"atss": {"suite.inference.score_voting"}}
"""Modules of an option that is off at a method's defaults."""


@pytest.mark.parametrize("method", CORE)
def test_what_a_run_executes_is_what_counts(method, rectangles, tmp_path):
    """Train and test for real, and compare the modules that ran with those of the identity, both ways."""
    from mmengine.registry import RUNNERS

    import suite.detectors
    import suite.inference
    import suite.telemetry
    import suite.training  # noqa: F401
    from suite.data.dataset import Dataset, Split
    from suite.inference import result
    from suite.runs.directory import RunDirectory
    from suite.runs.identity import identify
    from suite.runs.resources import Resources
    from suite.training.worker import load_config

    train, val = (Split(rectangles / f"{one}.json", rectangles / one, 1, 1, one) for one in ("train", "val"))
    dataset = Dataset("rectangles", "shapes", rectangles, train, val, ("dark", "light"))
    spec = spec_at(method, "smoke", 0)
    config = resolve(spec, dataset)
    identity = identify(spec, config, dataset, Resources(1, 0))[1]
    config["custom_hooks"] = []  # hooks that watch look at the detector through other modules
    run = RunDirectory(tmp_path)
    run.config_file.write_text(config_source(config))
    with Recorder() as training:
        runner = RUNNERS.build(load_config(run, "none"))
        runner.train()
    with Recorder() as evaluation:
        runner.test()
        result.metrics_of(run, val.annotations)

    def own(modules, *folders):
        return {name for name in modules if name.split(".")[1] in folders} - WATCHES

    trained = own(training.modules, *module.TRAINS)
    # A generator may make anchors in testing alone; what trained is all that has to be hashed as training.
    assert trained <= set(identity.training)
    assert set(identity.training) <= trained | own(evaluation.modules, *module.TRAINS)
    evaluated = own(evaluation.modules, *module.EVALUATES)
    assert evaluated | NOT_REACHED.get(method, set()) == set(identity.evaluation)
    assert not own(training.modules, "inference", "evaluation", "telemetry")
