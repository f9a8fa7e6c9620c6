"""What a preset trains on."""

from pathlib import Path

from suite.data.dataset import Dataset, describe
from suite.data.excerpt import excerpt
from suite.errors import SuiteError
from suite.runs.configs import preset_info
from suite.workspace import Workspace


def dataset_of(preset: str, coco_root: Path | None, workspace: Workspace) -> Dataset:
    """The dataset of a preset, or the COCO root that takes its place.

    Of a preset with ``dataset['excerpt']`` it is a few images of the root, which are linked below the
    workspace's ``data/`` after the whole root was checked.

    Raises:
        SuiteError: The preset needs COCO and no root was given, or the root is not a usable COCO root.
    """
    config = preset_info(preset)["dataset"]
    if coco_root is None and config["type"] == "coco":
        raise SuiteError(
            f"preset {preset!r} trains on COCO 2017, and no COCO_ROOT is given.",
            "Give the folder that holds annotations/, train2017/ and val2017/: COCO_ROOT=/path/to/coco.",
        )
    if coco_root is None:
        return describe(config, workspace.data)
    whole = describe({"type": "coco", "root": str(coco_root)}, workspace.data)
    if "excerpt" not in config:
        return whole
    few = workspace.data / f"{whole.name}-excerpt-{whole.fingerprint[:8]}"
    excerpt(whole.root, few, **config["excerpt"])
    return describe({"type": "coco", "root": str(few)}, workspace.data)


def report_name(preset: str, dataset: Dataset) -> str:
    """Folder of a report: the preset's name where it has its own generated data.

    For a COCO root its folder's name and the start of its fingerprint follow, so that reports of two roots
    never mix.
    """
    if dataset.kind == "shapes" and preset_info(preset)["dataset"]["type"] == "shapes":
        return preset
    return f"{preset}-{dataset.name}-{dataset.fingerprint[:6]}"
