"""Six scales as released with FreeAnchor: 480, 640, 800, 960, 1120 and 1280.

The longer side is at most 5/3 of the scale. No flips; one NMS over the candidates of all scales.
"""

test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(
                type="TestTimeAug",
                transforms=[
                    [
                        dict(type="Resize", scale=(round(s * 5 / 3), s), keep_ratio=True)
                        for s in (480, 640, 800, 960, 1120, 1280)
                    ],
                    [dict(type="RandomFlip", prob=0.0)],
                    [
                        dict(
                            type="PackDetInputs",
                            meta_keys=(
                                "img_id",
                                "img_path",
                                "ori_shape",
                                "img_shape",
                                "scale_factor",
                                "flip",
                                "flip_direction",
                            ),
                        )
                    ],
                ],
            ),
        ]
    ),
)
test_cfg = dict(type="MultiScaleLoop", merging="nms")
