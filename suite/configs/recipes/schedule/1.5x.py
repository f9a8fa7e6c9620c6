"""135k iterations of 16 images: 18 epochs, decay at 12 and 16; warm-up and rate stay the method's own."""

train_cfg = dict(max_epochs=18)
param_scheduler = {"1": dict(end=18, milestones=[12, 16])}
