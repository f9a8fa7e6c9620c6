"""Thirteen scales from 400 to 1800, each mirrored too, as released with ATSS and PAA.

The longer side is at most 3000, at 800 at most 1333. At the other scales than 800 a detection counts if its
size, in pixels of the scaled image, lies in the scale's range: large objects are taken from small images. The
detections are merged by soft voting.
"""

_ranges = {
    400: (96, 10000),
    500: (96, 10000),
    600: (64, 10000),
    640: (64, 10000),
    700: (64, 10000),
    800: (0, 10000),
    900: (0, 10000),
    1000: (0, 10000),
    1100: (0, 256),
    1200: (0, 256),
    1300: (0, 192),
    1400: (0, 192),
    1800: (0, 96),
}

test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(
                type="TestTimeAug",
                transforms=[
                    [
                        dict(type="Resize", scale=(1333 if s == 800 else 3000, s), keep_ratio=True)
                        for s in _ranges
                    ],
                    [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
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
test_cfg = dict(type="MultiScaleLoop", merging="soft_vote", size_ranges=list(_ranges.values()))
del _ranges
