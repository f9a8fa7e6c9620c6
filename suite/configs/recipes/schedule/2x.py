"""180k iterations of 16 images: 24 epochs, decay at 16 and 22; warm-up and rate stay the method's own."""

train_cfg = dict(max_epochs=24)
param_scheduler = {"1": dict(end=24, milestones=[16, 22])}
