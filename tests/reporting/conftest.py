"""Runs with detections drawn at random, and reports made from them."""

from report_runs import make_report, shipped_experiments

__all__ = ["make_report", "shipped_experiments"]
