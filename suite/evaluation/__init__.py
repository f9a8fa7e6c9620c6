"""What is measured: COCO AP, its slices, and NMS recall. Nothing here imports torch."""
