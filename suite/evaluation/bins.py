"""Names and bins of the slices of images; which images are in them is :mod:`suite.evaluation.slices`'s."""

import math

Bins = dict[str, tuple[float, float]]
"""Label -> [low, high)."""

OBJECTS: Bins = {"0-10": (0.0, 11.0), "11-20": (11.0, 21.0), "21-30": (21.0, 31.0), "31+": (31.0, math.inf)}
"""Objects in an image (FreeAnchor Fig. 6, LTM Fig. 5): bin -> [low, high)."""

CROWDEDNESS: Bins = {"sparse": (0.0, 0.2), "medium": (0.2, 0.5), "dense": (0.5, math.inf)}
"""Crowdedness of an image (LTM Table 2): bin -> [low, high). The published bins share their edges."""

IMAGE_BINS: dict[str, Bins | None] = {
    "objects": OBJECTS,
    "objects_and_crowds": OBJECTS,
    "sparsity": None,
    "crowdedness": CROWDEDNESS,
    "crowdedness_mean": CROWDEDNESS,
    "crowdedness_same_category": CROWDEDNESS,
    "crowdedness_nearest": CROWDEDNESS,
}
"""Dimension by which images are split -> its bins; None where they follow from the images."""
