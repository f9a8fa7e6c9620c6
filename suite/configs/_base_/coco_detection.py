# COCO 2017 detection, 1333x800, 2 images per GPU: the published protocol.
# `data/coco` is a placeholder; the suite writes the data set's paths in when it resolves a run.
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type="EpochSampler", seed=0),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(
        type="SeededCocoDataset",
        seed=0,
        data_root="data/coco/",
        ann_file="annotations/instances_train2017.json",
        data_prefix=dict(img="train2017/"),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="Resize", scale=(1333, 800), keep_ratio=True),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ],
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CocoDataset",
        data_root="data/coco/",
        ann_file="annotations/instances_val2017.json",
        data_prefix=dict(img="val2017/"),
        test_mode=True,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(1333, 800), keep_ratio=True),
            dict(
                type="PackDetInputs",
                meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
            ),
        ],
    ),
)
test_evaluator = dict(type="DetectionDump", ann_file="data/coco/annotations/instances_val2017.json")
test_cfg = dict(type="DetectionLoop")

# Evaluated once, after the last epoch. Validation along the way costs 5000 images an epoch and
# changes nothing that a table reports.
val_dataloader = None
val_evaluator = None
val_cfg = None
