"""A part of the training images held out for studies, which leave the reported split alone by that."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from suite.data.coco import SPLITS, annotation_file, is_ignored, read_annotations
from suite.data.dataset import Dataset, Split
from suite.errors import SuiteError
from suite.files import read_json, sha256, write_atomically, write_json
from suite.tuning.study import Holdout

_VERSION = 1
_RECORD = "holdout.json"


def hold_out(base: Dataset, wanted: Holdout, data_dir: Path) -> Dataset:
    """Describe the dataset that trains without the held-out images and is evaluated on them.

    Nothing is written; :func:`write_holdout` does that. The images stay where they are.

    Args:
        base: The dataset that is split.
        wanted: How much is held out.
        data_dir: Folder of the datasets: the annotation files come into a folder of their own there.

    Raises:
        SuiteError: Fewer than two training images.
    """
    total = base.train.n_images
    count = min(wanted.at_most, max(1, round(wanted.fraction * total)))
    if count >= total:
        raise SuiteError(f"{base.name}: {total} training images; none would be left to train on.")
    name = f"{base.name}-holdout{count}-s{wanted.seed}"
    root = data_dir / name
    parts = []
    for split, images in zip(SPLITS, (total - count, count), strict=True):
        identity = json.dumps([_VERSION, base.train.fingerprint, count, wanted.seed, split])
        fingerprint = hashlib.sha256(identity.encode()).hexdigest()
        parts.append(Split(annotation_file(root, split), base.train.images, images, 0, fingerprint))
    return replace(base, name=name, root=root, train=parts[0], val=parts[1], spec=None)


def write_holdout(base: Dataset, held: Dataset, seed: int) -> None:
    """Write the annotation files of a dataset of :func:`hold_out`, unless they are there and whole.

    Images are held out in the order of a hash of seed and image id. In the held-out part, boxes that training
    ignores (:func:`~suite.data.coco.is_ignored`) are left out: an evaluator would count them as missed.

    Args:
        base: The dataset that is split, whole on the disk.
        held: What :func:`hold_out` made of it.
        seed: The seed it was made with.

    Raises:
        SuiteError: The training annotations cannot be read, or the files not written.
    """
    if _is_whole(held):
        return
    content, _ = read_annotations(base.train.annotations)
    ids = sorted((image["id"] for image in content["images"]), key=lambda one: _rank(seed, one))
    chosen = set(ids[: held.val.n_images])
    images = {image["id"]: image for image in content["images"]}
    for split, evaluated in ((held.train, False), (held.val, True)):
        part = {
            "info": {"description": f"{held.name}, from {base.train.annotations.name}"},
            "images": [one for one in content["images"] if (one["id"] in chosen) == evaluated],
            "annotations": [
                one
                for one in content["annotations"]
                if (one["image_id"] in chosen) == evaluated
                and not (evaluated and is_ignored(one, images[one["image_id"]]))
            ],
            "categories": content["categories"],
        }
        write_atomically(split.annotations, json.dumps(part))
    hashes = {split.annotations.name: sha256(split.annotations) for split in (held.train, held.val)}
    write_json(held.root / _RECORD, {"fingerprint": held.fingerprint, "sha256": hashes})


def _rank(seed: int, image_id: int) -> str:
    return hashlib.sha256(f"{seed}/{image_id}".encode()).hexdigest()


def _is_whole(held: Dataset) -> bool:
    try:
        record = read_json(held.root / _RECORD)
        return bool(record["fingerprint"] == held.fingerprint) and all(
            sha256(split.annotations) == record["sha256"][split.annotations.name]
            for split in (held.train, held.val)
        )
    except (SuiteError, OSError, KeyError, TypeError):
        return False
