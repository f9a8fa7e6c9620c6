"""FoveaBox with focal and smooth L1 loss in the setting of aLRP Loss: AP 38.3 on COCO val2017."""

_base_ = ["../_base_/foveabox.py", "../_base_/ssd_augmentation.py"]

optim_wrapper = dict(optimizer=dict(lr=0.02))

suite = dict(
    label="FoveaBox (512, SSD augmentation)",
    paper="alrp_rebuttal_neurips2020",
    without=("schedule", "train_scales", "test_scales"),
    options=dict(sigma="model.bbox_head.sigma", lr="optim_wrapper.optimizer.lr", mark="test_cfg.mark"),
)
