"""Faster R-CNN with cross entropy and L1 in the setting of aLRP Loss: AP 37.8 on COCO val2017."""

_base_ = ["../_base_/faster_rcnn.py", "../_base_/ssd_augmentation.py"]

optim_wrapper = dict(optimizer=dict(lr=0.04))

suite = dict(
    label="Faster R-CNN (512, SSD augmentation)",
    paper="alrp_rebuttal_neurips2020",
    without=("schedule", "train_scales", "test_scales"),
    options=dict(lr="optim_wrapper.optimizer.lr", mark="test_cfg.mark"),
)
