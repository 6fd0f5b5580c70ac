"""Which size of images a Hugging Face script trains on: by flags, processor, transformations, checkpoint."""

from __future__ import annotations

import pytest

from tests.dialects.support import reading, told

SCRIPT = """\
import albumentations as A
from transformers import AutoImageProcessor, {loader}, Trainer, TrainingArguments

CHECKPOINT = "{name}"
SIZE = 480
processor = AutoImageProcessor.from_pretrained(CHECKPOINT{told})
model = {loader}.from_pretrained(CHECKPOINT, id2label=id2label, ignore_mismatched_sizes=True)
{between}
args = TrainingArguments(output_dir="out", per_device_train_batch_size=8, fp16=True)
Trainer(model, args).train()
"""

PAIR = ', size={"height": SIZE, "width": 640}'
PADDED = ', size={"max_height": 800, "max_width": 800}, pad_size={"height": SIZE, "width": SIZE}'
ADE = "facebook/mask2former-swin-tiny-ade-semantic"
CITYSCAPES = "nvidia/segformer-b2-finetuned-cityscapes-1024-1024"
DETECTOR, SEGMENTER = "AutoModelForObjectDetection", "AutoModelForUniversalSegmentation"


@pytest.mark.parametrize(
    ("loader", "name", "told", "between", "size"),
    [
        (DETECTOR, "PekingU/rtdetr_r50vd", "", "", (640, 640)),
        (DETECTOR, "ustc-community/dfine-small-coco", "", "", (640, 640)),
        (DETECTOR, "PekingU/rtdetr_r50vd", PAIR, "", (480, 640)),
        (DETECTOR, "facebook/detr-resnet-50", PADDED, "", (480, 480)),
        (DETECTOR, "facebook/detr-resnet-50", ", size=SIZE", "", (480, 480)),
        (DETECTOR, "facebook/detr-resnet-50", "", "", None),
        (DETECTOR, "facebook/detr-resnet-50", ', size={"shortest_edge": 800, "longest_edge": 1333}', "", None),
        (SEGMENTER, ADE, "", "t = A.Compose([A.Resize(height=SIZE, width=SIZE)])",
         (480, 480)),
        (DETECTOR, "PekingU/rtdetr_r50vd", ", do_resize=False", "", None),
        (DETECTOR, "PekingU/rtdetr_r50vd", ", size={'shortest_edge': 800}", "", None),
        (DETECTOR, "PekingU/rtdetr_r50vd", "", "t = A.Resize(height=HEIGHT, width=WIDTH)", None),
        (SEGMENTER, ADE, "",
         "a = A.Resize(height=512, width=512)\nb = A.Resize(height=256, width=256)", None),
        ("SegformerForSemanticSegmentation", "nvidia/mit-b0", "", "", (512, 512)),
        ("SegformerForSemanticSegmentation", CITYSCAPES, "", "", (1024, 1024)),
        ("AutoModelForImageClassification", "facebook/convnext-tiny-224", "", "", (224, 224)),
        ("AutoModelForCausalLM", "PekingU/rtdetr_r50vd", PAIR, "", None),
    ],
)  # fmt: skip
def test_the_size_of_a_script_of_ones_own(
    loader: str, name: str, told: str, between: str, size: tuple[int, int] | None
) -> None:
    text = SCRIPT.format(loader=loader, name=name, told=told, between=between)
    assert reading("train.py", text).plan.image_size.value == size


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("run_object_detection.py --model_name_or_path facebook/detr-resnet-50 --image_square_size 800", (800, 800)),
        ("run_object_detection.py --model_name_or_path facebook/detr-resnet-50", (600, 600)),
        ("run_instance_segmentation.py --model_name_or_path facebook/mask2former-swin-tiny-coco-instance "
         "--image_height 384 --image_width 640", (384, 640)),
        ("run_instance_segmentation.py --model_name_or_path facebook/mask2former-swin-tiny-coco-instance", (512, 512)),
        ("run_semantic_segmentation.py --model_name_or_path nvidia/mit-b0", (512, 512)),
        ("run_image_classification.py --model_name_or_path google/vit-base-patch16-224-in21k", (224, 224)),
        ("run_image_classification.py --model_name_or_path microsoft/resnet-50", (224, 224)),
        ("run_image_classification.py --model_name_or_path someone/own", None),
        ("run_clm.py --model_name_or_path gpt2", None),
    ],
)  # fmt: skip
def test_the_size_of_the_official_examples(line: str, size: tuple[int, int] | None) -> None:
    flags = "--output_dir out --per_device_train_batch_size 8 --do_train --fp16"
    plan = reading("train.sh", f"python {line} {flags}\n").plan
    assert plan.image_size.value == size
    assert plan.ema.value is (None if size is None else False)


def test_a_flag_is_where_the_size_comes_from() -> None:
    text = "python run_object_detection.py \\\n  --image_square_size 640 \\\r\n  --per_device_train_batch_size 8\n"
    found = told(reading("train.sh", text).plan.image_size)
    assert found[1:] == ("launch", 2)
