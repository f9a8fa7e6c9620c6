"""A small backbone pretrained on generated single shapes: what ImageNet is to the papers' backbones.

It learns to tell the twelve categories of the ``shapes`` dataset apart, one object per picture, and never
sees a box or a scene. It is made once, in about a minute on one CPU core, and shared by all runs like a
dataset. On one machine it comes out the same to the bit.
"""

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from suite.data.categories import CATEGORIES
from suite.data.scenes import draw_single
from suite.training.initialization import initialize_by_name

STEPS = 300
_BATCH = 64
_SIDE = 64  # pixels
_SEED = 0
_LEARNING_RATE, _WEIGHT_DECAY, _WARMUP = 3e-3, 0.05, 30
# As the detectors' preprocessor has them.
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class _Classifier(nn.Module):
    """The backbone, its last features averaged over the picture, and a linear classifier."""

    def __init__(self, backbone: nn.Module, channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.fc = nn.Linear(channels, len(CATEGORIES))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.backbone(images)[-1]
        logits: Tensor = self.fc(features.mean(dim=(2, 3)))
        return logits


def pretrain(
    config: dict[str, Any], steps: int = STEPS, say: Callable[[str], None] = lambda line: None
) -> tuple[dict[str, Tensor], float]:
    """Train a backbone on single shapes.

    AdamW, batches of 64 pictures of 64 x 64 pixels, cosine learning rate, each picture seen once.

    Args:
        config: Config of mmdet's backbone.
        steps: Number of batches, at least 1.
        say: Is told the progress, a line per 50 steps.

    Returns:
        The backbone's parameters and buffers by name, and the share of pictures that were classified
        rightly before they were learnt from, over the last tenth of the steps, in [0, 1].
    """
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rng = np.random.default_rng([_SEED, 1])
    backbone = MODELS.build(config)
    classifier = _Classifier(backbone, backbone.feat_dim).train()
    initialize_by_name(classifier, _SEED, backbone.init_weights)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    right: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            falling = 0.5 * (1 + math.cos(math.pi * step / steps))
            group["lr"] = _LEARNING_RATE * min(1.0, (step + 1) / _WARMUP) * falling
        images, labels = _batch(rng)
        logits = classifier(images)
        optimizer.zero_grad()
        functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        right.append(float((logits.argmax(dim=1) == labels).float().mean()))
        if (step + 1) % 50 == 0:
            say(f"step {step + 1}/{steps}  {np.mean(right[-50:]):.0%} of the pictures recognised")
    return backbone.state_dict(), float(np.mean(right[-max(1, steps // 10) :]))


def _batch(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """``(B, 3, h, w)`` pictures, normalised as the detectors do, and ``(B,)`` their categories."""
    drawn = [draw_single(rng, _SIDE) for _ in range(_BATCH)]
    pixels = np.stack([image for image, _ in drawn])[..., ::-1].astype(np.float32)  # R, G, B
    images = torch.from_numpy(pixels).sub(torch.tensor(_MEAN)).div(torch.tensor(_STD)).permute(0, 3, 1, 2)
    return images.contiguous(), torch.tensor([CATEGORIES.index(category) for _, category in drawn])


def write_pretrained(path: Path, config: dict[str, Any], identity: str, steps: int = STEPS) -> None:
    """Pretrain a backbone and write the file that configs start from; the file is whole or absent.

    Args:
        path: Where the file belongs.
        config: Config of mmdet's backbone.
        identity: What the file says that it is (:attr:`suite.runs.weights.Weights.identity`).
        steps: As for :func:`pretrain`.
    """
    state, recognised = pretrain(config, steps, lambda line: print(line, flush=True))
    temporary = path.with_name(f".{path.name}.tmp")
    meta = {"made": identity, "recognised": recognised, "torch": str(torch.__version__)}
    torch.save({"meta": meta, "state_dict": state}, temporary)
    os.replace(temporary, path)


if __name__ == "__main__":
    from suite.runs.weights import weights_named

    _weights = weights_named(sys.argv[2])
    write_pretrained(Path(sys.argv[1]), dict(_weights.backbone), _weights.identity)
