"""A batch's way to its device."""

from typing import Any

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS


@MODELS.register_module()
class AsynchronousPreprocessor(DetDataPreprocessor):
    """mmdet's preprocessor, with the same values, for which the CPU does not wait.

    Copies are queued behind the step that a GPU is still busy with, and the order of colours is changed
    without a list of indices, which would be copied too.

    Args:
        kwargs: DetDataPreprocessor's.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(non_blocking=True, **kwargs)
        self.mirrors_channels = bool(kwargs.get("bgr_to_rgb") or kwargs.get("rgb_to_bgr"))
        self._channel_conversion = False

    def cast_data(self, data: Any) -> Any:
        """The data on the model's device, images in the order of colours that the model takes."""
        data = super().cast_data(data)
        # forward() hands over the whole batch; nested parts come here too.
        if self.mirrors_channels and isinstance(data, dict) and "inputs" in data:
            images = data["inputs"]
            data["inputs"] = [one.flip(-3) for one in images] if isinstance(images, list) else images.flip(-3)
        return data
