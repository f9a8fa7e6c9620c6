"""Rows may differ in the declared factor only."""

import pytest

from suite.errors import SuiteError
from suite.experiments.fairness import audit, check_factor
from suite.experiments.plan import plan
from suite.experiments.schema import load_experiments


def load(path):
    (experiment,) = load_experiments(path.parent.parent)
    return experiment


def ltm(label: str, **options) -> dict:
    return {"label": label, "method": "ltm", "options": options}


def test_the_projects_own_tables_declare_their_factors(project) -> None:
    for experiment in load_experiments(project / "experiments"):
        check_factor(experiment)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"rows": [ltm("RetinaNet"), ltm("b", K=10)]},
            r"field rows\.1: option 'K' is 10 in row 'b' and left at",
        ),
        (
            {"factor": ["beta"], "rows": [ltm("RetinaNet", beta=0.5), ltm("b", beta=0.7, K=10)]},
            r"'K' is no declared",
        ),
        (
            {"factor": ["K"]},
            r"field rows\.1\.method: expected 'retinanet' as in row 'RetinaNet', found 'ltm'",
        ),
        ({"factor": ["methods"]}, r"field factor\.0: 'methods' is neither .* Did you mean 'method'"),
    ],
)
def test_an_undeclared_difference_is_refused_with_its_line(write_experiment, fields, message) -> None:
    path = write_experiment("ltm.table1", **fields)
    with pytest.raises(SuiteError, match=message) as caught:
        check_factor(load(path))
    assert f"{path}:" in caught.value.message
    assert caught.value.remedy


def test_an_option_that_only_some_methods_have_may_be_set_for_these(write_experiment) -> None:
    rows = [
        {"label": "RetinaNet", "method": "retinanet"},
        ltm("a", K=10),
        {**ltm("b", K=10), "method": "ltm_positive"},
    ]
    check_factor(load(write_experiment("ltm.table1", rows=rows)))


def configs(experiment, preset, dataset, tmp_path) -> dict:
    planned = plan([experiment], preset, [0], dataset, tmp_path / "runs")
    return {use.row: run.identity.config for run in planned.runs for use in run.uses}


def test_the_audit_names_what_differs_beside_the_method(write_experiment, dataset, tmp_path) -> None:
    experiment = load(write_experiment("ltm.table1"))
    (sentence,) = audit(experiment, configs(experiment, "coco-1gpu", dataset, tmp_path))
    assert sentence.startswith("LTM: ")
    assert "learning rate: 0.005 (baseline 0.01)" in sentence
    assert "gradient clipping: max_norm 10 (baseline 35)" in sentence
    assert "loss" not in sentence  # the method itself


def test_the_audit_says_at_which_backbone_ltm_has_another_learning_rate(
    write_experiment, dataset, tmp_path
) -> None:
    deeper = {"backbone": "r101"}
    rows = [
        {"label": "RetinaNet", "method": "retinanet"},
        ltm("LTM"),
        {"label": "RetinaNet deeper", "method": "retinanet", "options": deeper},
        ltm("LTM deeper", **deeper),
    ]
    experiment = load(write_experiment("ltm.table6", factor=["method", "backbone"], rows=rows))
    clipped = "gradient clipping: max_norm 10 (baseline 35)"
    assert audit(experiment, configs(experiment, "paper", dataset, tmp_path)) == [
        f"LTM: {clipped}; learning rate: 0.005 (baseline 0.01)",
        f"LTM deeper: {clipped}",
    ]


def test_freeanchor_differs_from_its_baseline_in_matching_loss_and_prior(project, dataset, tmp_path) -> None:
    (table,) = (one for one in load_experiments(project / "experiments") if one.id == "freeanchor.table2")
    sentences = audit(table, configs(table, "paper", dataset, tmp_path))
    prior = "initial weights: override.bias_prob 0.02 (baseline 0.01)"
    assert sentences == [f"FreeAnchor, ResNet-50: {prior}", f"FreeAnchor, ResNet-101: {prior}"]


def test_the_audit_names_the_parts_of_a_head_that_are_no_matching(
    write_experiment, dataset, tmp_path
) -> None:
    rows = [
        {"label": "RetinaNet", "method": "retinanet_maskrcnn_benchmark"},
        {"label": "ATSS", "method": "atss"},
    ]
    experiment = load(write_experiment("paa.table2_left", rows=rows))
    (sentence,) = audit(experiment, configs(experiment, "paper", dataset, tmp_path))
    assert "anchors: octave_base_scale 8 (baseline 4), ratios [1.0] (baseline [0.5, 1.0, 2.0])" in sentence
    assert "post-processing: nms.iou_threshold 0.6 (baseline 0.5)" in sentence
    assert "atss_cls" not in sentence and "loss" not in sentence


def test_the_audit_is_empty_where_only_an_option_differs(write_experiment, dataset, tmp_path) -> None:
    rows = [ltm("RetinaNet", K=20), ltm("b", K=10)]
    experiment = load(write_experiment("ltm.table1", factor=["K"], rows=rows))
    assert audit(experiment, configs(experiment, "mini", dataset, tmp_path)) == []
    # The same rows as levels of another factor: the bag size is told.
    other = load(write_experiment("ltm.table1", factor=["beta"], rows=rows))
    (sentence,) = audit(other, configs(other, "mini", dataset, tmp_path))
    assert "bag_size" in sentence


def test_the_end_of_self_balances_periods_is_a_part_of_alrp_loss(project, dataset, tmp_path) -> None:
    (table,) = (one for one in load_experiments(project / "experiments") if one.id == "alrp.tableA1")
    resolved = configs(table, "paper", dataset, tmp_path)
    balancing = {"type": "SelfBalanceHook"}
    assert resolved["aLRP, epoch 100"]["custom_hooks"] == [balancing]
    assert not resolved["Focal + SL1, epoch 100"]["custom_hooks"]
    assert "hook" not in " ".join(audit(table, resolved))
    # Another hook is told, wherever the list has it.
    other = {"type": "EMAHook", "momentum": 0.001}
    resolved["aLRP, epoch 100"]["custom_hooks"] = [other, balancing]
    told = "hooks: EMAHook.momentum 0.001 (baseline none), EMAHook.type EMAHook (baseline none)"
    assert told in " ".join(audit(table, resolved))
    resolved["Focal + SL1, epoch 100"]["custom_hooks"] = [other]
    assert "hook" not in audit(table, resolved)[-1]


def test_self_balance_is_told_where_the_method_is_no_factor(write_experiment, dataset, tmp_path) -> None:
    rows = [{"label": "RetinaNet", "method": "alrp_retinanet"}, {"label": "b", "method": "alrp_retinanet"}]
    table = load(write_experiment("alrp.tableA3", factor=["delta"], rows=rows))
    resolved = configs(table, "paper", dataset, tmp_path)
    resolved["b"] = {**resolved["RetinaNet"], "custom_hooks": []}
    assert audit(table, resolved) == ["b: hooks: SelfBalanceHook.type none (baseline SelfBalanceHook)"]
