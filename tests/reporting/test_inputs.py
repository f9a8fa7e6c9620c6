"""When levels may be compared with published ones."""

from dataclasses import replace

import pytest

from suite.reporting.inputs import ReportInput


@pytest.mark.parametrize(
    ("kind", "images", "full_scale", "expected"),
    [
        ("coco", 5000, True, True),
        ("coco", 5000, False, False),
        ("coco", 50, True, False),  # a small sample of COCO
        ("shapes", 5000, True, False),
    ],
)
def test_only_the_papers_scale_on_all_of_val2017_is_comparable(
    make_report, kind: str, images: int, full_scale: bool, expected: bool
) -> None:
    base = make_report(seeds=(), ids=("ltm.table1",)).dataset
    dataset = replace(base, kind=kind, val=replace(base.val, n_images=images))
    assert ReportInput("paper", dataset, full_scale=full_scale).comparable is expected
