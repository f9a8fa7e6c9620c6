"""Nine scales from 400 to 1200 in steps of 100, as LTM's paper names them; nothing more of it is released.

As with FreeAnchor: the longer side is at most 5/3 of the scale, no flips, one NMS over all candidates.
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
                        for s in range(400, 1201, 100)
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
