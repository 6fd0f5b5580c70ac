"""Packaged models that a Lightning script builds itself."""

from __future__ import annotations

import pytest

from tests.dialects.support import reading, told

SCRIPT = """\
import lightning as L
import timm
import segmentation_models_pytorch as smp
import albumentations as A

class Lit(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = {built}

tf = A.Compose([A.RandomCrop(height=512, width=640)])
data = DataModule(batch_size=8)
trainer = L.Trainer(precision="16-mixed", devices=2, strategy="ddp")
trainer.fit(Lit(), data)
"""


@pytest.mark.parametrize(
    ("built", "model", "classes", "task"),
    [
        ('smp.UnetPlusPlus(encoder_name="efficientnet-b4", in_channels=4, classes=5)',
         "unetplusplus_efficientnet-b4", 5, "segment"),
        ("smp.Unet(classes=2)", "unet_resnet34", 2, "segment"),
        ('smp.DeepLabV3Plus("resnet50", classes=19)', "deeplabv3plus_resnet50", 19, "segment"),
        ('timm.create_model("convnext_tiny", pretrained=True, num_classes=10)', "convnext_tiny", 10, "classify"),
        ("smp.Unet(encoder_name=ENCODER, classes=2)", None, None, None),
        ('Own(smp.Unet(classes=2), smp.FPN(classes=2))', None, None, None),
        ("Own(width=64)", None, None, None),
    ],
)  # fmt: skip
def test_the_one_model_that_a_script_builds(
    built: str, model: str | None, classes: int | None, task: str | None
) -> None:
    plan = reading("train.py", SCRIPT.format(built=built)).plan
    assert (plan.model.value, plan.num_classes.value, plan.task.value) == (model, classes, task)
    assert plan.image_size.value == (None if model is None else (512, 640))
    assert model is None or told(plan.model)[1] == "file"


def test_a_data_module_says_the_size_where_no_transformation_does() -> None:
    text = SCRIPT.format(built="smp.Unet(classes=2)").replace("tf = A", "# A").replace("=8)", "=8, image_size=384)")
    assert reading("train.py", text).plan.image_size.value == (384, 384)
