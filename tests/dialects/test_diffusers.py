"""diffusers scripts: prior preservation, defaults of each script, precision from accelerate."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, told, values
from vramlint.errors import EditRefused
from vramlint.plan import ImageSize, Precision

LINE = "accelerate launch --num_processes {} train_dreambooth.py --pretrained_model_name_or_path x {}"


@pytest.mark.parametrize(
    ("gpus", "flags", "micro", "effective"),
    [
        # train_dreambooth.py:1184: train_batch_size * num_processes * gradient_accumulation_steps.
        (1, "--train_batch_size 2", 2, 2),
        (2, "--train_batch_size 2", 2, 4),
        (3, "--train_batch_size 2 --gradient_accumulation_steps 4", 2, 24),
        (8, "--train_batch_size 2 --gradient_accumulation_steps 4", 2, 64),
        # collate_fn concatenates the class images: twice as many in each forward pass.
        (1, "--train_batch_size 2 --with_prior_preservation", 4, 4),
        (2, "--train_batch_size 2 --with_prior_preservation", 4, 8),
        (3, "--train_batch_size 1 --with_prior_preservation --gradient_accumulation_steps 2", 2, 12),
        (8, "--train_batch_size 2 --with_prior_preservation", 4, 32),
        (2, "", 4, 8),
        (2, "--with_prior_preservation", 8, 16),
    ],
)
def test_batches(gpus: int, flags: str, micro: int, effective: int) -> None:
    assert values(reading("t.sh", LINE.format(gpus, flags)), "micro_batch", "effective_batch") == (micro, effective)


def test_a_new_micro_batch_is_spelled_for_the_instance_images() -> None:
    found = reading("t.sh", LINE.format(1, "--train_batch_size 2 --with_prior_preservation"))
    assert found.slots["micro_batch"].spell(8) == 4
    with pytest.raises(EditRefused):
        found.slots["micro_batch"].spell(3)


@pytest.mark.parametrize(
    ("script", "batch", "size"),
    [
        ("train_text_to_image.py", 16, 512),
        ("examples/text_to_image/train_text_to_image_lora_sdxl.py", 16, 1024),
        ("train_dreambooth_lora_flux.py", 4, 512),
        ("train_dreambooth_lora_sdxl.py", 4, 1024),
        ("train_instruct_pix2pix.py", 16, 256),
        ("train_controlnet.py", 4, 512),
        ("train_unconditional.py", 16, 64),
    ],
)
def test_defaults_of_the_scripts(script: str, batch: int, size: int) -> None:
    found = reading("t.sh", f"accelerate launch {script} --gradient_accumulation_steps 2 --output_dir o")
    assert values(found, "micro_batch", "image_size") == (batch, ImageSize(size, size))
    assert told(found.plan.micro_batch)[1] == "default"


def test_the_scripts_own_defaults_count_where_it_is_at_hand() -> None:
    script = (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--train_batch_size', default=7, type=int)\n"
    )
    line = "accelerate launch train_dreambooth.py --resolution 768"
    found = reading("t.sh", line, Surroundings({"train_dreambooth.py": script + "p.parse_args()\n"}))
    assert values(found, "micro_batch", "image_size") == (7, ImageSize(768, 768))


@pytest.mark.parametrize(
    ("launch", "flag", "precision"),
    [
        ("", "--mixed_precision bf16", Precision.BF16),
        ("--mixed_precision fp16", "", Precision.FP16),
        ("--mixed_precision fp16", "--mixed_precision no", Precision.FP32),
        ("--config_file a.yaml", "", Precision.BF16),
        ("--config_file none.yaml", "", None),
        ("", "", None),
    ],
)
def test_precision(launch: str, flag: str, precision: Precision | None) -> None:
    line = f"accelerate launch {launch} train_text_to_image.py --train_batch_size 1 {flag}"
    assert reading("t.sh", line, Surroundings({"a.yaml": "mixed_precision: bf16\n"})).plan.precision.value is precision
