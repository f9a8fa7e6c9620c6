"""ATSS with its own head and losses in the setting of aLRP Loss: "ATSS" of the rebuttal's Table A2.

The rebuttal does not say which head and losses its row has; here they are ATSS's own, with its learning
rate of 0.01 for 16 images, twice that for 32.
"""

_base_ = ["../_base_/atss_head.py", "../_base_/ssd_augmentation.py"]

model = dict(
    type="ATSS",
    bbox_head=dict(
        type="OneAnchorHead",
        auxiliary="centerness",
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
    ),
    train_cfg=dict(assigner=dict(type="ATSSAssigner", topk=9)),
)
optim_wrapper = dict(optimizer=dict(lr=0.02), paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0))

suite = dict(
    label="ATSS (512, SSD augmentation)",
    paper="alrp_rebuttal_neurips2020",
    without=("schedule", "train_scales", "test_scales"),
    options=dict(topk="model.train_cfg.assigner.topk", lr="optim_wrapper.optimizer.lr", mark="test_cfg.mark"),
)
