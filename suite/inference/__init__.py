"""What happens to a trained detector: its detections, its candidates, their coverage of the objects.

Importing this registers the evaluation loops and the metric. Nothing here trains: a change has detectors
evaluated again, and none trained again.
"""

from suite.inference.candidates import candidates
from suite.inference.loop import DetectionLoop
from suite.inference.mark import MarkLoop
from suite.inference.metric import DetectionDump
from suite.inference.multi_scale import MultiScaleLoop

__all__ = ["DetectionDump", "DetectionLoop", "MarkLoop", "MultiScaleLoop", "candidates"]
