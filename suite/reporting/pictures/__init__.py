"""The papers' pictures: functions, bags and assignments over a training, detections side by side."""
