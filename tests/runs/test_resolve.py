"""From names to one config."""

import shutil

import pytest
from mmengine.config import Config

from suite.errors import SuiteError
from suite.limits import LIMITS, OneOf
from suite.runs.configs import CONFIGS, method_info, names, preset_info
from suite.runs.options import paths_of, spec_at
from suite.runs.resolve import config_source, resolve

METHODS = names("methods")
PRESETS = names("presets")


def trains(method: str, preset: str) -> bool:
    return bool(preset_info(preset).get("full_scale")) or "full_scale_only" not in method_info(method)


def test_the_promised_methods_and_presets_are_there():
    assert {
        "retinanet",
        "retinanet_topk",
        "free_anchor",
        "ltm_positive",
        "ltm",
        "ltm_af",
        "paa",
        "atss",
    } <= set(METHODS)
    assert {"smoke", "mini", "coco-1gpu", "paper"} <= set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_every_pair_resolves_to_a_file_that_mmengine_loads_back(method, preset, dataset, tmp_path):
    if not trains(method, preset):
        with pytest.raises(SuiteError, match=f"{method}: not measurable at preset {preset}: "):
            resolve(spec_at(method, preset, 3), dataset)
        return
    config = resolve(spec_at(method, preset, 3), dataset)
    model = config["model"]
    heads = model["roi_head"]["bbox_head"] if "roi_head" in model else model["bbox_head"]
    assert {head["num_classes"] for head in (heads if isinstance(heads, list) else [heads])} == {3}
    assert config["randomness"]["seed"] == 3
    path = tmp_path / "config.py"
    path.write_text(config_source(config))
    loaded = Config.fromfile(path, import_custom_modules=False)
    assert loaded.to_dict() == Config(config).to_dict()


def other_value(config, path):
    """A value that the option does not have, but may."""
    for key in path.split("."):
        config = config[key]
    limit = LIMITS.get(path.split(".")[-1])
    if isinstance(limit, OneOf):
        return next(name for name in limit.names if name not in (config, "eq11_literal"))
    if isinstance(config, bool):
        return not config
    if isinstance(config, float):
        return 0.99 * config or 0.5
    if path.endswith(".loss_bbox.type"):
        return "IoULoss"
    if path.endswith((".mark", ".w_r")):
        return 0.5
    return 3 if config is None else config + 1


GOES_WITH = {"SB": {"w_r": 5.0}, "w_r": {"SB": False}}
"""Option -> another without which it is refused."""


@pytest.mark.parametrize("method", METHODS)
def test_every_named_option_reaches_the_config(method, dataset):
    preset = "mini" if trains(method, "mini") else "paper"
    default = resolve(spec_at(method, preset, 0), dataset)
    for option, path in method_info(method)["options"].items():
        value = other_value(Config(default), paths_of(path)[0])
        options = {option: value, **GOES_WITH.get(option, {})}
        assert resolve(spec_at(method, preset, 0, options), dataset) != default, option


def test_presets_share_the_methods_own_numbers(dataset):
    def published(preset):
        return resolve(spec_at("ltm", preset, 0), dataset)["model"]["bbox_head"]

    assert {key: published("mini")[key] for key in ("type", "negative_matching")} == {
        key: published("paper")[key] for key in ("type", "negative_matching")
    }


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("ltmm", "mini", 0), r"method 'ltmm' is unknown\. Did you mean 'ltm'"),
        (("ltm", "minni", 0), r"preset 'minni' is unknown\. Did you mean 'mini'"),
        (("ltm", "mini", 0, {"k": 3}), r"method 'ltm' has no option 'k'"),
        (
            ("ltm", "mini", 0, {"K": "many"}),
            r"option 'K' of method 'ltm': expected int like 40, found 'many'",
        ),
        (("ltm", "mini", 0, {"K": True}), r"expected int like 40, found True"),
        (
            ("ltm", "mini", 0, {"K": 0}),
            r"option 'K' of method 'ltm': expected a whole number of at least 1, found 0",
        ),
        (
            ("ltm", "mini", 0, {"negative_matching": "eq52"}),
            r"'negative_matching' of method 'ltm': expected one of eq25, none.*'eq52'\. Did you mean 'eq25'",
        ),
        (("ltm", "mini", 0, {"K": None}), r"option 'K' of method 'ltm'.*found None"),
        (("free_anchor", "mini", 0, {"alpha": 1.2}), r"option 'alpha'.*at most 1, found 1\.2"),
        (("free_anchor", "mini", 0, {"prior": 1.0}), r"option 'prior'.*below 1, found 1\.0"),
        (("paa", "mini", 0, {"separation": "f"}), r"expected one of a, b, c, d, e, fixed_number"),
        (("paa", "mini", 0, {"lr": float("nan")}), r"option 'lr'.*found nan"),
    ],
)
def test_unknown_names_and_wrong_values(asked, message):
    with pytest.raises(SuiteError, match=message):
        spec_at(*asked)


def test_a_sample_may_not_exceed_its_bag(dataset):
    with pytest.raises(SuiteError, match=r"model\.bbox_head\.sample_size: .*40 anchors.*found 60"):
        resolve(spec_at("ltm", "mini", 0, {"S": 60}), dataset)
    assert resolve(spec_at("ltm", "mini", 0, {"S": 20}), dataset)["model"]["bbox_head"]["sample_size"] == 20


def test_a_method_without_sizes_of_its_own_takes_those_of_the_one_it_is_like(dataset, monkeypatch, tmp_path):
    configs = tmp_path / "configs"
    shutil.copytree(CONFIGS, configs)
    monkeypatch.setattr("suite.runs.configs.CONFIGS", configs)
    text = '_base_ = "./retinanet.py"\nsuite = dict(label="Mine", paper="mine"{}, options=dict())\n'
    (configs / "methods" / "mine.py").write_text(text.format(', like="retinanet"'))
    (configs / "methods" / "alone.py").write_text(text.format(""))
    mine, other = (resolve(spec_at(name, "mini", 0), dataset) for name in ("mine", "retinanet"))
    assert mine["model"] == other["model"]
    with pytest.raises(SuiteError, match=r"method 'alone': preset 'mini' does not say how") as caught:
        resolve(spec_at("alone", "mini", 0), dataset)
    assert "like=" in str(caught.value.remedy)
    resolve(spec_at("alone", "paper", 0), dataset)
