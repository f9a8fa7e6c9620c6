"""From names to one config."""

import pytest
from mmengine.config import Config

from suite.errors import SuiteError
from suite.experiments.resolve import check_options, config_source, method_info, names, resolve
from suite.experiments.spec import RunSpec

METHODS = names("methods")
PRESETS = names("presets")


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
    config = resolve(RunSpec(method, preset, 3), dataset)
    assert config["model"]["bbox_head"]["num_classes"] == 3
    assert config["randomness"]["seed"] == 3
    path = tmp_path / "config.py"
    path.write_text(config_source(config))
    loaded = Config.fromfile(path, import_custom_modules=False)
    assert loaded.to_dict() == Config(config).to_dict()


@pytest.mark.parametrize("method", METHODS)
def test_every_named_option_reaches_the_config(method, dataset):
    default = resolve(RunSpec(method, "mini", 0), dataset)
    for option in method_info(method)["options"]:
        assert resolve(RunSpec(method, "mini", 0, {option: None}), dataset) != default, option


def test_presets_share_the_methods_own_numbers(dataset):
    def published(preset):
        return resolve(RunSpec("ltm", preset, 0), dataset)["model"]["bbox_head"]

    assert {key: published("mini")[key] for key in ("type", "negative_matching")} == {
        key: published("paper")[key] for key in ("type", "negative_matching")
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (RunSpec("ltmm", "mini", 0), r"method 'ltmm' is unknown\. Did you mean 'ltm'"),
        (RunSpec("ltm", "minni", 0), r"preset 'minni' is unknown\. Did you mean 'mini'"),
        (RunSpec("ltm", "mini", 0, {"k": 3}), r"method 'ltm' has no option 'k'"),
        (
            RunSpec("ltm", "mini", 0, {"K": "many"}),
            r"option 'K' of method 'ltm': expected int like 40, found 'many'",
        ),
        (RunSpec("ltm", "mini", 0, {"K": True}), r"expected int like 40, found True"),
    ],
)
def test_unknown_names_and_wrong_values(spec, message):
    with pytest.raises(SuiteError, match=message):
        check_options(spec)
