"""MaskFormer and Mask2Former as decode heads: every class in the image is one object.

Source: mmsegmentation 1.2.2 ``decode_heads/{mask,mask2}former_head.py`` around mmdet 3.3.0's heads.
"""

from __future__ import annotations

from vramlint.memory.layers.heads.detection.common import Batch
from vramlint.memory.layers.heads.detection.mask2former import Mask2FormerHead
from vramlint.memory.layers.heads.detection.maskformer import MaskFormerHead
from vramlint.memory.layers.registry import Build, Config, Maps, head
from vramlint.memory.layers.tape import Tensor

CLASSES_IN_AN_IMAGE = 25
"""Classes that the fullest image shows, an assumption: Cityscapes has 19 in all, ADE20K 150."""
CLASSES_OF_OTHERS = 11
"""Classes of the other images: ADE20K's have 10.5 in the mean (arXiv 1608.05442, section 2)."""


@head("mmseg.Mask2FormerHead", "mmseg.MaskFormerHead")
class SegmentingQueryHead:
    """The detector's head with one bitmap for each class of an image."""

    def __init__(self, build: Build, config: Config) -> None:
        classes = int(config["num_classes"])
        self.objects = min(classes, CLASSES_IN_AN_IMAGE)
        masked = str(config.get("type")).rpartition(".")[2] == "Mask2FormerHead"
        make = Mask2FormerHead if masked else MaskFormerHead
        self.inside = make(build, {**config, "num_things_classes": classes, "num_stuff_classes": 0})

    def loss(self, maps: Maps, labels: Tensor) -> list[Tensor]:
        batch, height, width = labels.shape
        return self.inside.loss(maps, Batch(batch, height, width, self.objects, min(self.objects, CLASSES_OF_OTHERS)))
