"""Initial weights are paired between methods by parameter name."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from training_runs import model_config

import suite.training  # noqa: F401
from suite.errors import SuiteError
from suite.training.initialization import NamedInitialization, initialize_by_name


@pytest.fixture(autouse=True)
def _scope() -> None:
    if not DefaultScope.check_instance_created("test"):
        DefaultScope.get_instance("test", scope_name="mmdet")


def _weights(method: str, seed: int, disturb: int = 0, **backbone: object) -> dict[str, Tensor]:
    config = model_config(method)
    config["backbone"].update(backbone)
    torch.manual_seed(disturb)
    model = MODELS.build(config)
    initialize_by_name(model, seed, model.init_weights)
    return dict(model.named_parameters())


def test_methods_share_the_weights_of_shared_layers() -> None:
    retina = _weights("RetinaNet", 3)
    for other in (_weights("ATSS", 3, disturb=1), _weights("PAA", 3, disturb=2)):
        shared = [name for name in retina if name in other and retina[name].shape == other[name].shape]
        assert {"backbone.conv1.weight", "neck.fpn_convs.0.conv.weight", "bbox_head.cls_convs.0.conv.weight",
                "bbox_head.reg_convs.0.conv.weight"} <= set(shared)  # fmt: skip
        for name in shared:
            assert torch.equal(retina[name], other[name]), name


def test_layers_are_drawn_independently_and_with_the_right_spread() -> None:
    weights = _weights("RetinaNet", 0)
    first, second = weights["backbone.layer1.0.conv1.weight"], weights["backbone.layer1.0.conv2.weight"]
    assert first.shape == second.shape
    assert abs(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]) < 0.15
    assert weights["bbox_head.cls_convs.0.conv.weight"].std().item() == pytest.approx(0.01, rel=0.05)


def test_another_seed_gives_other_weights() -> None:
    one, two = _weights("ATSS", 0), _weights("ATSS", 1)
    assert not torch.equal(one["backbone.conv1.weight"], two["backbone.conv1.weight"])


def test_layers_without_init_cfg_depend_on_the_seed_alone() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.linear = nn.Linear(4, 4)

        def init_weights(self) -> None:
            nn.init.xavier_uniform_(self.linear.weight)

    states = []
    for disturb in (0, 1):
        torch.manual_seed(disturb)
        model = Bare()
        initialize_by_name(model, 5, model.init_weights)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert states[0]["conv.bias"].abs().sum() > 0


@pytest.mark.parametrize(
    "draw",
    [
        lambda p: p.normal_(0, 2),
        lambda p: p.data.uniform_(-1, 1),
        lambda p: nn.init.normal_(p),
        lambda p: nn.init.kaiming_normal_(p),
        lambda p: nn.init.xavier_uniform_(p),
        lambda p: nn.init.uniform_(p[:2]),
        lambda p: p.data.bernoulli_(0.5),
    ],
)
def test_every_way_to_draw_is_independent_of_what_was_drawn_before(draw) -> None:
    results = []
    for other_first in (False, True):
        model = nn.Module()
        model.other, model.weight = nn.Parameter(torch.zeros(7)), nn.Parameter(torch.zeros(4, 4))
        with NamedInitialization(model, 0), torch.no_grad():
            if other_first:
                model.other.normal_()
                model.weight.normal_()
            draw(model.weight)
        if other_first and results[0][2:].eq(0).all():
            model.weight.data[2:] = 0
        results.append(model.weight.detach().clone())
    assert torch.equal(*results)
    assert results[0].any()


def test_a_draw_that_no_parameter_stands_for_is_refused_and_the_global_state_kept() -> None:
    model = nn.Linear(3, 3)
    before = torch.get_rng_state()
    with pytest.raises(SuiteError, match="init_weights"):
        initialize_by_name(model, 0, lambda: model.weight.data.copy_(torch.randn(3, 3)))
    assert torch.equal(torch.get_rng_state(), before)


def test_pretrained_weights_win(tmp_path: Path) -> None:
    source = _weights("RetinaNet", 0)
    names = [name.removeprefix("backbone.") for name in source if name.startswith("backbone.")]
    kept = {name: source[f"backbone.{name}"].detach() + 1 for name in names}
    torch.save({"state_dict": kept}, tmp_path / "pretrained.pth")
    init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "pretrained.pth")}
    weights = _weights("RetinaNet", 9, init_cfg=init_cfg)
    assert all(torch.equal(weights[f"backbone.{name}"], value) for name, value in kept.items())
    neck = "neck.fpn_convs.0.conv.weight"
    assert not torch.equal(weights[neck], source[neck])
