"""What a run trains and is evaluated on, described without touching an image."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from suite.data import coco, shapes
from suite.data.categories import CATEGORIES
from suite.errors import SuiteError, nearest


@dataclass(frozen=True)
class Split:
    """Training or validation part of a dataset.

    Attributes:
        annotations: COCO instances file.
        images: Folder of the images.
        n_images: Number of images.
        n_boxes: Number of boxes that are neither crowds nor ignored; 0 for shapes that are not drawn yet.
        fingerprint: SHA-256 that changes whenever the annotations or an image do.
    """

    annotations: Path
    images: Path
    n_images: int
    n_boxes: int
    fingerprint: str


@dataclass(frozen=True)
class Dataset:
    """A dataset as the runs know it.

    Attributes:
        name: ``shapes-<8 hex digits>``, or the name of the COCO folder.
        kind: Where it comes from.
        root: Folder in COCO's layout.
        train: Training split.
        val: Validation split.
        categories: Names by ascending category id.
        notices: What to state before training, such as boxes that training ignores.
        spec: What draws a shapes dataset.
    """

    name: str
    kind: Literal["shapes", "coco"]
    root: Path
    train: Split
    val: Split
    categories: tuple[str, ...]
    notices: tuple[str, ...] = ()
    spec: shapes.ShapesSpec | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 that changes whenever annotations or images do."""
        return hashlib.sha256(f"{self.train.fingerprint} {self.val.fingerprint}".encode()).hexdigest()


def describe(dataset_config: Mapping[str, Any], data_dir: Path) -> Dataset:
    """Describe the dataset that a preset names, without drawing anything.

    Args:
        dataset_config: A preset's ``suite['dataset']``: ``type='shapes'`` with the fields of
            :class:`~suite.data.shapes.ShapesSpec`, or ``type='coco'`` with ``root``, relative to the current
            folder.
        data_dir: Where shapes datasets lie, and ``fingerprints.json`` with the passed checks of COCO folders.

    Raises:
        SuiteError: The config is wrong, or the COCO folder is, see :func:`suite.data.coco.check_root`.
    """
    kind = dataset_config.get("type")
    if kind == "shapes":
        return _describe_shapes(shapes.ShapesSpec.from_config(dataset_config), data_dir)
    if kind == "coco":
        return _describe_coco(dataset_config, data_dir)
    raise SuiteError(
        f"dataset.type: found {kind!r}, expected 'shapes' or 'coco'.{nearest(str(kind), ('shapes', 'coco'))}",
        "Correct the preset's dataset.",
    )


def _describe_shapes(spec: shapes.ShapesSpec, data_dir: Path) -> Dataset:
    root = data_dir / spec.name
    boxes = shapes.drawn_boxes(root)
    splits = [
        Split(
            annotations=shapes.annotation_file(root, split),
            images=root / split,
            n_images=shapes.images_of(spec, split),
            n_boxes=boxes.get(split, 0),
            fingerprint=spec.fingerprint_of(split),
        )
        for split in shapes.SPLITS
    ]
    return Dataset(
        name=spec.name,
        kind="shapes",
        root=root,
        train=splits[0],
        val=splits[1],
        categories=CATEGORIES,
        spec=spec,
    )


def _describe_coco(config: Mapping[str, Any], data_dir: Path) -> Dataset:
    unknown = [key for key in config if key not in ("type", "root")]
    if unknown or not isinstance(config.get("root"), str | Path) or not str(config["root"]):
        raise SuiteError(
            f"dataset: found {dict(config)!r}, expected type='coco' and root='<folder>' and nothing else.",
            "Set dataset.root to the folder that has annotations/, train2017/ and val2017/.",
        )
    root = Path(config["root"]).expanduser()
    checked = coco.check_root(root, data_dir / "fingerprints.json")
    splits = [
        Split(coco.annotation_file(root, name), root / name, split.images, split.boxes, split.fingerprint)
        for name, split in zip(coco.SPLITS, checked, strict=True)
    ]
    return Dataset(
        name=root.resolve().name,
        kind="coco",
        root=root,
        train=splits[0],
        val=splits[1],
        categories=tuple(name for _, name in checked[1].categories),
        notices=tuple(notice for split in checked for notice in split.notices),
    )


def prepare(dataset: Dataset, progress: bool = True) -> None:
    """Make sure that the dataset is there and whole before training.

    A shapes dataset is drawn where it is absent or damaged, see :func:`suite.data.shapes.generate`. A COCO
    dataset was checked when it was described; its files must still be there.

    Raises:
        SuiteError: The shapes cannot be written, or the COCO folder changed since it was described.
    """
    if dataset.spec is not None:
        shapes.generate(dataset.spec, dataset.root, progress)
        return
    for split in (dataset.train, dataset.val):
        for path in (split.annotations, split.images):
            if not path.exists():
                raise SuiteError(f"{path}: vanished since it was checked.", "Restore the COCO folder.")
