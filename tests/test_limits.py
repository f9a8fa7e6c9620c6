import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.errors import SuiteError
from suite.limits import LIMITS, Number, NumberOrRange, OneOf, check_fields, problem_of


@pytest.mark.parametrize(
    ("limit", "good", "bad"),
    [
        (Number(1, whole=True), [1, 40], [0, -1, 1.0, 1.5, True, None, "1", float("nan")]),
        (Number(0, 1), [0, 1, 0.5], [-0.1, 1.1, float("inf"), None]),
        (Number(0, 1, above=True, below=True), [0.01, 0.99], [0, 1, 0.0, 1.0]),
        (Number(1, whole=True, optional=True), [None, 3], [0]),
        (Number(0), [0, 1e9], [float("inf"), float("nan"), -1e-9]),
        (OneOf(("a", "b")), ["a"], ["A", "", None, 1]),
        (
            NumberOrRange(Number(0, 1)),
            [0.4, 0, 1.0, (0.1, 0.5), (0, 1)],
            [-0.1, None, (0.5, 0.1), (0.5, 0.5), (0.1,), (0, 0.1, 0.2), (0, 1.1), (0, None), [0.1, 0.5]],
        ),
    ],
)
def test_what_holds_and_what_does_not(limit, good, bad):
    assert all(limit.holds(value) for value in good)
    assert not any(limit.holds(value) for value in bad)


@given(st.sampled_from(sorted(LIMITS)), st.one_of(st.integers(), st.floats(), st.text(), st.none()))
def test_a_problem_names_what_was_expected_and_found(name, value):
    problem = problem_of(name, value)
    if LIMITS[name].holds(value):
        assert problem is None
    else:
        assert problem.startswith(f"expected {LIMITS[name]}, found {value!r}.")


def test_messages_are_words():
    assert problem_of("bag_size", 0) == "expected a whole number of at least 1, found 0."
    assert problem_of("bias_prob", 1) == "expected a number above 0 and below 1, found 1."
    assert problem_of("separation", "fixed_numbr").endswith("Did you mean 'fixed_number'?")
    assert problem_of("something_else", -1) is None


def test_fields_within_fields_are_checked():
    with pytest.raises(SuiteError, match=r"^model\.bbox_head\.loss_cls\.alpha: expected .* found -1"):
        check_fields({"bbox_head": {"bag_size": 40, "loss_cls": {"type": "FocalLoss", "alpha": -1}}}, "model")


@pytest.mark.parametrize(
    "model",
    [
        {"assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": (0.1, 0.5)}},
        {"assigner": {"type": "ATSSAssigner", "topk": 9, "alpha": None}},
        {"assigner": {"type": "ATSSAssigner", "topk": 9, "alpha": 0.8}},
        {"train_cfg": {"assigner": {"type": "TaskAlignedAssigner", "topk": 13}, "alpha": 2, "beta": 6}},
        {"loss_bbox": {"type": "L1Loss", "loss_weight": 0}},
        {"loss_bbox": {"type": "BalancedL1Loss", "alpha": 1.2, "gamma": 1.5, "beta": 1.0}},
        {"loss_cls": {"type": "VarifocalLoss", "alpha": 1.5, "gamma": 2.0}},
        {"loss_cls": {"type": "EQLV2Loss", "alpha": 4.0, "gamma": 12}},
        {"loss_heatmap": {"type": "GaussianFocalLoss", "alpha": 2.0, "gamma": 4.0}},
        {"test_cfg": {"nms": {"type": "nms", "iou_threshold": 1.0}}},
    ],
)
def test_what_mmdets_own_heads_and_losses_take_is_allowed(model):
    check_fields(model, "model")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (
            {"assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": (0.1, 0.6)}},
            r"assigner\.neg_iou_thr: expected at most pos_iou_thr, 0\.5, found \(0\.1, 0\.6\)",
        ),
        (
            {"assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0, "neg_iou_thr": 0.4}},
            r"assigner\.neg_iou_thr: expected at most pos_iou_thr, 0, found 0\.4",
        ),
        (
            {"assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": (0.5, 0.1)}},
            r"neg_iou_thr: .*, or a tuple of two such numbers, the lower one first, found \(0\.5, 0\.1\)",
        ),
        (
            {"assigner": {"type": "CentredIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": (0.1, 0.5)}},
            r"neg_iou_thr: expected a number of at least 0 and at most 1, found",
        ),
        ({"loss_cls": {"type": "FocalLoss", "alpha": 1.2}}, r"loss_cls\.alpha: .*at most 1, found 1\.2"),
        ({"loss_cls": {"type": "GaussianFocalLoss", "alpha": -2.0}}, r"loss_cls\.alpha: .* found -2\.0"),
        ({"loss_bbox": {"type": "L1Loss", "loss_weight": -1}}, r"loss_bbox\.loss_weight: .* found -1"),
        (
            {"bbox_head": {"scoring_weight": 1.0, "loss_bbox": {"type": "GIoULoss", "loss_weight": 0.0}}},
            r"bbox_head\.loss_bbox\.loss_weight: expected a number above 0",
        ),
        ({"bbox_head": {"type": "FreeAnchorHead", "iou_threshold": 1}}, r"iou_threshold: .*below 1, found 1"),
    ],
)
def test_what_would_train_nonsense_is_refused(model, says):
    with pytest.raises(SuiteError, match=says):
        check_fields(model, "model")
