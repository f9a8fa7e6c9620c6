"""Anchor-assignment methods for object detection, trained side by side and compared with their papers."""

__version__ = "0.1.0"
