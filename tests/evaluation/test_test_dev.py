"""Numbers as evaluation servers print them."""

import json

import pytest

from suite.errors import SuiteError
from suite.evaluation.test_dev import parse_numbers

PRINTED = """
 Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.392
 Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.579
 Average Precision  (AP) @[ IoU=0.75      | area=   all | maxDets=100 ] = 0.421
 Average Precision  (AP) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 0.215
 Average Precision  (AP) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = 0.416
 Average Precision  (AP) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = 0.493
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ] = 0.330
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets= 10 ] = 0.530
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.563
 Average Recall     (AR) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 0.360
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = 0.600
 Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = 0.700
"""
SIX = {"AP": 0.392, "AP50": 0.579, "AP75": 0.421, "APS": 0.215, "APM": 0.416, "APL": 0.493}
ALL = {**SIX, "AR1": 0.33, "AR10": 0.53, "AR100": 0.563, "ARS": 0.36, "ARM": 0.6, "ARL": 0.7}


def lines(numbers: dict[str, float]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in numbers.items())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PRINTED, ALL),
        ("evaluating ...\n" + PRINTED + "done in 3 s\n", ALL),
        (lines(SIX), SIX),
        ("AP: 0.392\nAP_50: 0.579\nAP_75: 0.421\nAP_small: 0.215\nAP_medium: 0.416\nAP_large: 0.493\n", SIX),
        ("AP = 0.392\nAP .5 = 0.579\nAP .75 = 0.421\nAPs = 0.215\nAPm = 0.416\nAPl = 0.493\n", SIX),
        (json.dumps(SIX), SIX),
        (json.dumps([{"test-dev2017": {**SIX, "AR_max_1": 0.33, "seconds": 812}}]), {**SIX, "AR1": 0.33}),
        (lines({name: 100 * value for name, value in SIX.items()}), SIX),  # in percent
        (PRINTED + lines({"AP": 0.392}), ALL),  # the same number twice
    ],
)
def test_numbers_in_the_forms_that_servers_use(text: str, expected: dict[str, float]) -> None:
    assert parse_numbers(text, "scores.txt") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "scores.txt: AP, AP50, AP75, APS, APM, APL missing; found no metric"),
        (lines({name: value for name, value in SIX.items() if name != "APS"}), "APS missing; found AP, AP50"),
        (lines({**SIX, "APL": -1}), "APL = -1: expected numbers from 0 to 1, or from 0 to 100"),
        (lines({**SIX, "AP": 392}), "AP = 392: expected numbers"),
        (json.dumps({**SIX, "AP": "0.392"}), "AP missing"),
        (lines(SIX) + "\nAP: 0.4", "AP is given twice, as 0.392 and 0.4"),
        (lines({**SIX, "AP50": 0.3}), "AP50 = 0.3 is below AP = 0.392, which cannot be"),
        ('{"AP": NaN}', "AP50, AP75, APS, APM, APL missing"),
        (json.dumps({**SIX, "APM": float("nan")}), "APM = nan: expected numbers"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        parse_numbers(text, "scores.txt")
