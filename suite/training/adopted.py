"""Checkpoints of detectors that others trained: read without executing anything, and fitted strictly."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.utils import import_modules_from_strings
from torch import Tensor

from suite.errors import SuiteError
from suite.text import listed
from suite.training.pretrained import load_plain

_PREPROCESSING = {
    "data_preprocessor.mean": re.compile(r"\bmean=(\[[^\]]*\])"),
    "data_preprocessor.std": re.compile(r"\bstd=(\[[^\]]*\])"),
    "data_preprocessor.bgr_to_rgb": re.compile(r"\b(?:bgr_to_rgb|to_rgb)=(True|False)"),
    "backbone.style": re.compile(r"\bstyle='(\w+)'"),
}
"""What changes detections and no parameter's shape: field of the model -> where mmdet's config has it."""


@dataclass(frozen=True)
class Foreign:
    """A checkpoint that somebody else trained.

    Attributes:
        state: Its parameters by name.
        meta: What mmdet noted beside them: version, config as text, names of the classes.
    """

    state: dict[str, Tensor]
    meta: dict[str, Any]

    @property
    def mmdet(self) -> str:
        """Version of mmdet that trained it, or empty."""
        return str(self.meta.get("mmdet_version", ""))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes in order; empty where it does not say."""
        data = self.meta.get("dataset_meta")
        of_version_3 = (data.get("classes") or data.get("CLASSES")) if isinstance(data, dict) else None
        found = of_version_3 or self.meta.get("CLASSES") or ()
        return tuple(map(str, found))

    @property
    def config(self) -> str:
        """The config that trained it, as text; empty where it does not say."""
        return str(self.meta.get("cfg") or self.meta.get("config") or "")


def read_foreign(path: Path) -> Foreign:
    """Read a checkpoint of mmdet 2 or 3, or a bare state dict.

    Raises:
        SuiteError: It is damaged, holds more than weights and plain values, or no weights, or is of mmdet 1.
    """
    content = load_plain(path)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise SuiteError(f"{path}: not a checkpoint.", "Expected 'state_dict': names and tensors.")
    meta = content.get("meta") if "state_dict" in content else None
    found = Foreign(
        {str(name).removeprefix("module."): value for name, value in state.items()},
        meta if isinstance(meta, dict) else {},
    )
    if found.mmdet.startswith(("0.", "1.")):
        raise SuiteError(
            f"{path}: trained with mmdet {found.mmdet}, whose order of anchors and classes is another one.",
            "Convert it with mmdet's tools/model_converters/upgrade_model_version.py.",
        )
    return found


def fitted(foreign: Foreign, config: Mapping[str, Any], origin: str) -> dict[str, Tensor]:
    """The parameters of a foreign checkpoint, if they are exactly those of a config's model.

    Args:
        foreign: The checkpoint.
        config: A resolved config.
        origin: The checkpoint's name, for messages.

    Raises:
        SuiteError: Parameters are missing, left over or of another shape; the message names them.
    """
    register_all_modules(init_default_scope=False)
    import_modules_from_strings(**config.get("custom_imports", {"imports": []}))
    with torch.device("meta"):
        own = MODELS.build({"_scope_": "mmdet", **config["model"]}).state_dict()
    state = foreign.state
    # A counter of batches is read by no network that is evaluated; torch 0.4 had none.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    misfits = [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    left = [name for name in state if name not in own]
    problems = [
        f"{what}: {listed(names, 6)}"
        for what, names in (("lacks", missing), ("of another shape", misfits), ("left over", left))
        if names
    ]
    if problems:
        raise SuiteError(f"{origin}: does not fit the model.\n" + "\n".join(problems), _hint(misfits))
    return {name: state[name] for name in own if name in state}


def _hint(misfits: list[str]) -> str:
    if misfits and all("fpn_convs" in name for name in misfits):
        return "The pyramid takes its coarse levels elsewhere: try --set model.neck.add_extra_convs=on_input."
    if any("cls" in name for name in misfits):
        return "If only the classes' layers differ, give the COCO root that the detector was trained for."
    return (
        "Name the method, its options (--option backbone=r101) and changes of its config "
        "(--set model.neck.add_extra_convs=on_input) with which the detector was trained."
    )


def check_sameness(foreign: Foreign, model: Mapping[str, Any], classes: tuple[str, ...], origin: str) -> None:
    """Check what changes detections and no parameter's shape, as far as the checkpoint says it.

    Args:
        foreign: The checkpoint.
        model: The ``model`` of the config that is to be evaluated.
        classes: Names of the dataset's categories, in the order of their ids.
        origin: The checkpoint's name, for messages.

    Raises:
        SuiteError: Images are normalised, or strides placed, otherwise than when it was trained; or its
            classes are others. The message has the ``--set`` that evaluates it as it was trained.
    """
    if foreign.classes and foreign.classes != tuple(classes):
        raise SuiteError(
            f"{origin}: was trained for other classes ({listed(foreign.classes)}) than the dataset's "
            f"({listed(classes)}).",
            "Give the COCO root that it was trained for, with the same names in the same order.",
        )
    changes = []
    for field, pattern in _PREPROCESSING.items():
        found = {text.replace(" ", "") for text in pattern.findall(foreign.config)}
        part, _, name = field.partition(".")
        own = model.get(part, {}).get(name)
        if len(found) == 1 and own is not None and found != {str(own).replace(" ", "")}:
            changes.append(f"--set 'model.{field}={found.pop()}'")
    if changes:
        raise SuiteError(
            f"{origin}: was trained with another preprocessing or backbone than the config has.",
            f"To evaluate it as it was trained, add {' '.join(changes)}.",
        )


def write_adopted(state: dict[str, Tensor], path: Path) -> None:
    """Write fitted parameters where the evaluation takes them from; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.tmp")
    torch.save({"state_dict": state, "meta": {}}, part)
    part.replace(path)
