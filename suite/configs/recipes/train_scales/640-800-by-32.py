"""FreeAnchor's jitter: the shorter side is one of 640, 672, ..., 800, the longer one at most 1333."""

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(
                type="RandomChoiceResize",
                scales=[(1333, side) for side in range(640, 801, 32)],
                keep_ratio=True,
            ),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ]
    )
)
