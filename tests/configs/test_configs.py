"""Every method at every preset builds, trains a step and detects; and keeps what its paper set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import suite.detectors
import suite.training  # noqa: F401
from suite.inference import candidates
from suite.runs.configs import fresh, load, names
from suite.runs.resolve import _sizes, preset_batch

MMDET = Path(mmdet.__file__).parent / ".mim" / "configs"
METHODS = names("methods")
AT_FULL_SCALE = ["cornernet", "ga_faster_rcnn", "ga_retinanet", "tridentnet"]
MMDETS = {
    "cascade_rcnn": "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco",
    "cornernet": "cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco",
    "faster_rcnn": "faster_rcnn/faster-rcnn_r50_fpn_1x_coco",
    "fcos": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco",
    "foveabox": "foveabox/fovea_r50_fpn_4xb4-1x_coco",
    "fsaf": "fsaf/fsaf_r50_fpn_1x_coco",
    "ga_faster_rcnn": "guided_anchoring/ga-faster-rcnn_r50-caffe_fpn_1x_coco",
    "ga_retinanet": "guided_anchoring/ga-retinanet_r50-caffe_fpn_1x_coco",
    "libra_rcnn": "libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco",
    "retinanet_mmdet": "retinanet/retinanet_r50_fpn_1x_coco",
    "reppoints": "reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco",
    "tridentnet": "tridentnet/tridentnet_r50-caffe_1x_coco",
}
"""Methods whose heads, losses and settings are mmdet's -> the config they follow."""
SMALL = [method for method in METHODS if method not in AT_FULL_SCALE]
OWN = [method for method in METHODS if method not in MMDETS] + ["retinanet_mmdet"]
QUICK = {
    "retinanet", "free_anchor", "ltm", "ltm_af", "paa", "atss", "faster_rcnn", "alrp_retinanet",
    "alrp_foveabox",
}  # fmt: skip
"""Methods that the quick tests train for a step; the slow tests do it with all."""
PRESETS = names("presets")


def trained(methods: list[str]) -> list[Any]:
    return [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in methods]


@pytest.fixture(autouse=True, scope="module")
def mmdet_scope() -> None:
    init_default_scope("mmdet")


def config_of(kind: str, name: str) -> Config:
    return Config(fresh(load(kind, name)))


def merged(method: str, preset: str) -> Config:
    config = config_of("methods", method)
    overrides = fresh(load("presets", preset))
    overrides.pop("suite")
    config.merge_from_dict(overrides)
    config.merge_from_dict(_sizes(method, preset))
    return config


def at_path(config, path: str):
    for key in path.split("."):
        config = config[key]
    return config


def samples(size: int, counts: list[int]) -> list[DetDataSample]:
    generator = torch.Generator().manual_seed(0)
    result = []
    for count in counts:
        corner = torch.rand(count, 2, generator=generator) * size * 0.6
        sides = torch.rand(count, 2, generator=generator) * size * 0.3 + 8
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(size, size), ori_shape=(2 * size, 2 * size), pad_shape=(size, size),
                batch_input_shape=(size, size), scale_factor=(0.5, 0.5),
            )
        )  # fmt: skip
        sample.gt_instances = InstanceData(
            bboxes=torch.cat([corner, corner + sides], dim=1),
            labels=torch.randint(0, 3, (count,), generator=generator),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        result.append(sample)
    return result


def build(model_config):
    heads = model_config.roi_head.bbox_head if "roi_head" in model_config else model_config.bbox_head
    for head in heads if isinstance(heads, list) else [heads]:
        head.num_classes = 3
    model_config.backbone.init_cfg = None  # no pretrained weights here
    model = MODELS.build(model_config)
    model.init_weights()
    return model


def ranks(method: str) -> bool:
    """Whether a method's loss ranks positives: it is 0 without any, and may rise while they climb."""
    return method.startswith(("alrp_", "ap_loss_"))


def train_and_detect(
    model_config, size: int, counts: list[int], candidates_too: bool = True, without_loss: bool = False
) -> None:
    torch.manual_seed(0)
    model = build(model_config)
    images, batch = torch.randn(len(counts), 3, size, size), samples(size, counts)
    loss, terms = model.parse_losses(model.loss(images, batch))
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert loss.isfinite() and (loss == 0 if without_loss else loss > 0), terms
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert bool(sum(gradient.abs().sum() for gradient in gradients) > 0) is not without_loss
    model.eval()
    with torch.no_grad():
        detections = model.predict(images, batch, rescale=True)
    for sample in detections:
        after = sample.pred_instances
        assert len(after.bboxes) == len(after.scores) == len(after.labels) <= 100
    if not candidates_too or not hasattr(model, "bbox_head"):  # two-stage detectors have no dense candidates
        return
    with torch.no_grad():
        outs = model.bbox_head(model.extract_feat(images))
        found = candidates(model.bbox_head, outs, [sample.metainfo for sample in batch], 1e-4)
    for before in found:
        assert len(before.bboxes) > 0 and before.bboxes.max() <= 2 * size + 0.01


@pytest.mark.parametrize("preset", ["mini", pytest.param("smoke", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", trained(SMALL))
def test_a_step_and_a_detection_at_the_small_presets(method, preset):
    # GMMs, bags and nearest anchors all see an image without objects and one with several.
    train_and_detect(merged(method, preset).model, 128, [3, 0], method in [*OWN, "fcos", "fsaf"])


@pytest.mark.parametrize("method", METHODS)
def test_it_builds_at_full_scale(method):
    with torch.device("meta"):  # all but the numbers
        model = MODELS.build(merged(method, "paper").model)
    assert sum(parameter.numel() for parameter in model.parameters()) > 30e6


def leaves(value, path: str = ""):
    """Path and value of everything in a config that holds nothing more."""
    if not isinstance(value, (dict, list, tuple)):
        yield path, value
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(item, f"{path}.{key}")


@pytest.mark.parametrize(("method", "config"), MMDETS.items())
def test_mmdets_methods_have_mmdets_model(method, config):
    theirs = Config.fromfile(MMDET / f"{config}.py").model
    if method == "tridentnet":
        theirs.backbone.depth = theirs.roi_head.shared_head.depth = 101
        theirs.backbone.init_cfg.checkpoint = "open-mmlab://detectron2/resnet101_caffe"
        theirs.roi_head.shared_head.init_cfg.checkpoint = "open-mmlab://detectron2/resnet101_caffe"
    caffe = (".data_preprocessor.", ".backbone.norm_cfg", ".backbone.style", ".backbone.init_cfg")
    allowed = {
        # The backbone of this suite's other methods.
        **dict.fromkeys(["fcos", "ga_retinanet", "ga_faster_rcnn"], caffe),
        # Spelled out here, the defaults of mmdet's heads there.
        "fcos": (*caffe, ".bbox_head.regress_ranges"),
        "foveabox": (".test_cfg.min_bbox_size",),
        **dict.fromkeys(["fsaf", "retinanet_mmdet"], (".bbox_head.init_cfg",)),
        "tridentnet": (".neck",),
    }.get(method, ())
    allowed = (*allowed, ".data_preprocessor.type")  # the suite's own, of the same numbers
    pairs = {*leaves(merged(method, "paper").model.to_dict())} ^ {*leaves(theirs.to_dict())}
    assert sorted(path for path, _ in pairs if not path.startswith(allowed)) == []


@pytest.mark.parametrize("method", trained(OWN))
def test_a_batch_without_objects(method):
    train_and_detect(merged(method, "smoke").model, 128, [0, 0], without_loss=ranks(method))


def short_training(method: str) -> list[float]:
    torch.manual_seed(1)
    config = merged(method, "smoke").model
    if "sample_size" in config.bbox_head:
        config.bbox_head.sample_size = 9  # drawn at random in each step
    model = build(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    images, batch = torch.randn(2, 3, 128, 128), samples(128, [5, 3])
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss, _ = model.parse_losses(model.loss(images, batch))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("method", trained(OWN))
def test_a_short_training_from_one_seed_gives_identical_losses(method):
    first = short_training(method)
    assert short_training(method) == first
    assert first[-1] < first[0] or ranks(method)


@pytest.mark.parametrize("preset", ["coco-1gpu", "paper"])
@pytest.mark.parametrize("method", METHODS)
def test_coco_presets_leave_the_model_as_its_method_has_it(method, preset):
    config = merged(method, preset)
    own = config_of("methods", method)
    assert config.model == own.model
    assert config.optim_wrapper == own.optim_wrapper
    images = 32 if ranks(method) or method.endswith("_500") else 16
    images = {"cornernet": 48, "alrp_atss_800": 16}.get(method, images)
    assert preset_batch(method, preset) == config.auto_scale_lr.base_batch_size == images


@pytest.mark.parametrize("method", [method for method in OWN if "faster_rcnn" not in method])
def test_published_heads_work_with_five_levels(method):
    """The full head at COCO's five levels, on a narrow backbone: R-50 itself has nothing of ours."""
    config = merged(method, "paper")
    config.merge_from_dict(
        dict(
            model=dict(
                backbone=dict(depth=18, base_channels=16, init_cfg=None),
                neck=dict(in_channels=[16, 32, 64, 128], out_channels=64),
                bbox_head=dict(in_channels=64, feat_channels=64, stacked_convs=1),
            )
        )
    )
    train_and_detect(config.model, 256, [2, 1])


@pytest.mark.parametrize("method", METHODS)
def test_options_point_at_values(method):
    config = merged(method, "mini" if method in SMALL else "paper")
    info = config_of("methods", method).suite
    assert info.label and info.paper
    for name, paths in info.options.items():
        for path in [paths] if isinstance(paths, str) else paths:
            # None where the option is off by default.
            assert isinstance(at_path(config, path), (int, float, str, type(None))), name


@pytest.mark.parametrize("name", PRESETS)
def test_presets_say_what_they_cost(name):
    info = config_of("presets", name).suite
    assert {"dataset", "cpus", "gpus", "seeds"} <= set(info)
    small = {"seconds_per_run", "disk_mb_per_run"} <= set(info) and set(info["by_method"]) == set(SMALL)
    assert info.get("full_scale") or small


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def test_foveabox_goes_on_after_a_step_without_positives(one_process: None) -> None:
    """An image without objects leaves its box branch without gradient, which stops several GPUs."""

    def two_steps(find_unused_parameters: bool) -> None:
        torch.manual_seed(0)
        config = merged("foveabox", "smoke")
        model = MMDistributedDataParallel(
            build(config.model), find_unused_parameters=find_unused_parameters, broadcast_buffers=False
        )
        for _ in range(2):
            losses = model(torch.randn(1, 3, 64, 64), samples(64, [0]), mode="loss")
            model.module.parse_losses(losses)[0].backward()

    with pytest.raises(RuntimeError, match="Expected to have finished reduction in the prior iteration"):
        two_steps(False)
    two_steps(merged("foveabox", "paper").find_unused_parameters)
