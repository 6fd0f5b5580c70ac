"""MONAI's supervised training of a segmentation network: patches in, one loss over every voxel.

Source: MONAI 1.6.1 ``engines/trainer.py`` (SupervisedTrainer), ``losses/dice.py``, ``losses/utils.py``,
``data/utils.py`` (``list_data_collate``: each sample of a crop transform is a sample of the batch).
"""

from __future__ import annotations

from vramlint.memory.layers import functions as ops
from vramlint.memory.layers.registry import Build, Config, UnknownType, model
from vramlint.memory.layers.tape import Tensor

_DICE = ("DiceLoss", "MaskedDiceLoss", "GeneralizedDiceLoss")
_JOINT = ("DiceCELoss", "DiceFocalLoss", "GeneralizedDiceFocalLoss")


@model("monai.SupervisedTrainer")
class VolumeSegmentor:
    """A network of ``backbones.medical`` and the loss that the bundle names."""

    def __init__(self, build: Build, config: Config) -> None:
        self.build, self.config = build, config
        self.network = build.backbone(config["backbone"])
        self.dims = int(config["backbone"].get("spatial_dims", config["backbone"].get("dimensions", 3)))
        self.channels = int(config["backbone"].get("in_channels", 1))
        self.loss_config: Config = config["loss"]
        self.kind = str(self.loss_config["type"]).rpartition(".")[2]
        self.held: tuple[Tensor, ...] = ()
        if self.kind not in (*_DICE, *_JOINT, "CrossEntropyLoss", "FocalLoss"):
            raise UnknownType(f"loss {self.kind!r} of MONAI")

    def loss(self, images: Tensor) -> Tensor:
        tape, facts = self.build.tape, self.build.facts
        batch, (height, width) = images.shape[0] * int(facts.get("patches", 1)), images.size
        if self.dims == 3 and "depth" not in facts:
            raise UnknownType("the depth of a patch is not in the file")
        sides = (height, width) if self.dims == 2 else (int(facts["depth"]), height, width)
        volume = tape.new(batch, self.channels, *sides)
        classes = int(self.config["backbone"].get("out_channels", 2))
        label = tape.new(batch, 1 if self.loss_config.get("to_onehot_y", False) else classes, *sides)
        (found,) = self.network(volume)
        heads = found.shape[1] if len(found.shape) > 2 + self.dims else 1
        if heads > 1:
            found = found.view(found.shape[0] * heads, *found.shape[2:])
            label = tape.new(batch * heads, *label.shape[1:])
        self.held = volume, label  # the engine holds its batch to the end of the step
        return ops.total_loss(self._losses(found, label))

    def _losses(self, logits: Tensor, label: Tensor) -> list[Tensor]:
        losses: list[Tensor] = []
        if self.kind in (*_DICE, *_JOINT):
            losses.append(self._dice(logits, label))
        if self.kind in (*_JOINT[1:], "FocalLoss"):
            losses.append(ops.total(ops.pointwise_loss(logits, kept=3, steps=2)))
        if self.kind in ("DiceCELoss", "CrossEntropyLoss"):
            if logits.shape[1] == 1:
                losses.append(ops.total(ops.pointwise_loss(logits, kept=2, steps=0)))
            else:
                places = logits.elements // logits.shape[1]
                labels = logits.storage.tape.new(places, itemsize=8)
                losses.append(ops.cross_entropy(logits, labels, reduced=True))
        return losses

    def _dice(self, logits: Tensor, label: Tensor) -> Tensor:
        """Probabilities, the labels as one map a class, sums of their product and of each."""
        tape, options = logits.storage.tape, self.loss_config
        chance = logits
        if options.get("sigmoid", False):
            chance = ops.sigmoid(logits)
        elif options.get("softmax", False) and logits.shape[1] > 1:
            chance = ops.softmax(logits)
        target = tape.new(*chance.shape) if label.shape[1] != chance.shape[1] else label
        if not options.get("include_background", True) and chance.shape[1] > 1:
            chance = ops.select(chance, (chance.shape[0], chance.shape[1] - 1, *chance.shape[2:]))
        overlap = tape.record(chance.shape, chance.itemsize, (chance,), (chance.bytes,), (target,))
        return ops.add(ops.total(overlap), ops.total(chance))
