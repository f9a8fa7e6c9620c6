"""NMS recall: which share of the objects found before NMS is still found after it.

FreeAnchor Sec. 4.2 and Table 1, LTM Table 4. The protocol is that of the authors' released tool
(``nms_recall`` in zhangxiaosong18/FreeAnchor): an object's coverage is its best IoU with any box, whatever
the box's class, without one-to-one matching.
"""

import numpy as np
import pandas as pd

from suite.errors import SuiteError

THRESHOLDS = (50, 55, 60, 65, 70, 75, 80, 85, 90)
"""IoU thresholds in percent. The published NR is the mean over these nine."""


PROTOCOLS = {"freeanchor": "", "deployed": "_deployed"}
"""Protocol -> ending of its columns in coverage.parquet and of its metrics' names."""


def nms_recall(coverage: pd.DataFrame, protocol: str = "freeanchor") -> dict[str, float | None]:
    """Compute NMS recall, pooled over all objects.

    Args:
        coverage: One row per object that is not a crowd, with columns ``iou_before`` and ``iou_after`` (for
            ``deployed`` with the ending ``_deployed``): its best IoU with a box before and after NMS, in [0,
            1] (0 where there is no box).
        protocol: ``freeanchor``, the papers', or ``deployed``: within the detector's own limits, and boxes of
            the object's class alone.

    Returns:
        For each tau in 50, 55, ..., 90: ``recall_before<tau>`` and ``recall_after<tau>``, the share of
        objects whose IoU is strictly above tau / 100, and ``NR<tau>``, the second over the first. ``NR``,
        ``recall_before`` and ``recall_after`` are the means over the nine. All are in [0, 1]. None where
        undefined: no objects, or no object found before NMS at that tau (then the mean NR is undefined too).

    Raises:
        SuiteError: A column is missing, or an IoU is not within [0, 1].
    """
    recall: dict[str, dict[int, float | None]] = {}
    for name in ("before", "after"):
        column = f"iou_{name}{PROTOCOLS[protocol]}"
        if column not in coverage.columns:
            raise SuiteError(
                f"coverage: no column {column!r}; found {', '.join(map(str, coverage.columns))}."
            )
        # Float32 throughout: a stored IoU of 0.6 is above the double 0.6 and would pass as strictly above.
        values = coverage[column].to_numpy(dtype=np.float32)
        if not ((values >= 0) & (values <= 1)).all():
            raise SuiteError(f"coverage: {column} has values outside [0, 1].")
        recall[name] = {
            tau: float((values > np.float32(tau / 100)).mean()) if len(values) else None for tau in THRESHOLDS
        }
    ratio: dict[int, float | None] = {}
    for tau in THRESHOLDS:
        before, after = recall["before"][tau], recall["after"][tau]
        ratio[tau] = after / before if before and after is not None else None
    result: dict[str, float | None] = {}
    for label, by_tau in (
        ("NR", ratio),
        ("recall_before", recall["before"]),
        ("recall_after", recall["after"]),
    ):
        result |= {f"{label}{tau}": value for tau, value in by_tau.items()}
        defined = [value for value in by_tau.values() if value is not None]
        result[label] = float(np.mean(defined)) if len(defined) == len(THRESHOLDS) else None
    return result
