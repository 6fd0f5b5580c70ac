"""Mask2Former as a decode head: every class in the image is one object.

Source: mmsegmentation 1.2.2 ``decode_heads/mask2former_head.py`` around mmdet 3.3.0's head.
"""

from __future__ import annotations

from vramlint.memory.layers.heads.detection.common import Batch
from vramlint.memory.layers.heads.detection.mask2former import Mask2FormerHead
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor

CLASSES_IN_AN_IMAGE = 25
"""Classes that the fullest images show, an assumption: Cityscapes has 19 in all, ADE20K 150."""


@head("mmseg.Mask2FormerHead")
class SegmentingMask2FormerHead:
    """The detector's head with one bitmap for each class of an image."""

    def __init__(self, build: Build, config: Config) -> None:
        classes = int(config["num_classes"])
        self.objects = min(classes, CLASSES_IN_AN_IMAGE)
        self.inside = Mask2FormerHead(build, {**config, "num_things_classes": classes, "num_stuff_classes": 0})

    def loss(self, maps: Maps, labels: Tensor) -> list[Tensor]:
        batch, height, width = labels.shape
        return self.inside.loss(maps, Batch(batch, height, width, self.objects, self.objects))
