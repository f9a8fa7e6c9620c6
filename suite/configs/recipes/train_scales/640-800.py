"""Scale jitter: the shorter side is drawn from 640 to 800 for each image, the longer one is at most 1333."""

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="RandomResize", scale=[(1333, 640), (1333, 800)], keep_ratio=True),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ]
    )
)
