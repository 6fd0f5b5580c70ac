"""RT-DETR and D-FINE: includes and their order, names, sizes to draw from, places that repairs may write."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told, values
from vramlint.plan import ImageSize, Precision

FILES = {
    "configs/include/loader.yml": "train_dataloader:\n  total_batch_size: 16\n  collate_fn: {scales: [480, 800]}\n",
    "configs/include/optimizer.yml": "use_amp: True\nuse_ema: True\nepoches: 72\n",
    "configs/include/model.yml": "__include__: ['optimizer.yml']\n"
    "RTDETR: {backbone: PResNet, decoder: RTDETRTransformer}\n"
    "PResNet: {depth: 50}\neval_spatial_size: [640, 640]\nepoches: 6\n",
}
OWN = "__include__: ['include/model.yml', 'include/loader.yml']\noutput_dir: o\n{}"


def test_what_files_include_is_read_in_their_order() -> None:
    found = reading("configs/a.yml", OWN.format("PResNet: {depth: 18}\n"), Surroundings(FILES, gpus=4))
    plan = found.plan
    assert plan.dialect == "rtdetr"
    assert values(found, "micro_batch", "effective_batch", "model", "epochs") == (4, 16, "rtdetr_r18vd", 6)
    assert (plan.ema.value, plan.precision.value, plan.image_size.value) == (True, Precision.FP16, ImageSize(640, 640))
    assert plan.fact("largest_image_size").value == ImageSize(800, 800)
    assert [document.path for document in found.documents] == [
        "configs/a.yml",
        "configs/include/loader.yml",
        "configs/include/model.yml",
        "configs/include/optimizer.yml",
    ]


def test_a_file_that_is_not_at_hand_leaves_its_settings_open() -> None:
    plan = reading("configs/a.yml", OWN.format("train_dataloader: {batch_size: 2}\n")).plan
    assert plan.micro_batch.value == 2
    assert not plan.ema.known
    assert not plan.precision.known


def test_defaults_of_a_whole_chain() -> None:
    plan = reading("a.yml", "__include__: []\nPResNet: {depth: 50}\ntrain_dataloader: {batch_size: 2}\n").plan
    assert told(plan.precision) == (Precision.FP32, "default", None)
    assert told(plan.ema) == (False, "default", None)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("RTDETR: {backbone: PResNet, decoder: RTDETRTransformerv2}\nPResNet: {depth: 101}\n", "rtdetr_v2_r101vd"),
        ("RTDETR: {backbone: RegNet, decoder: RTDETRTransformer}\n", None),
        ("DFINE: {backbone: HGNetv2, decoder: DFINETransformer}\nHGNetv2: {name: B0}\n", "dfine_small"),
        (
            "DFINE: {backbone: HGNetv2, decoder: DFINETransformer}\nHGNetv2: {name: B0}\n"
            "HybridEncoder: {hidden_dim: 128}\n",
            "dfine_nano",
        ),
        ("DFINE: {backbone: HGNetv2, decoder: DFINETransformer}\nHGNetv2: {name: B5}\n", "dfine_xlarge"),
    ],
)
def test_models(text: str, model: str | None) -> None:
    assert reading("a.yml", "__include__: []\noutput_dir: o\n" + text).plan.model.value == model


@pytest.mark.parametrize(
    ("loader", "multi_scale", "largest"),
    [
        ("{base_size: 640, base_size_repeat: 3}", True, 800),
        ("{scales: [480, 640], stop_epoch: 71}", True, 640),
        ("{scales: ~}", False, None),
    ],
)
def test_sizes_to_draw_from(loader: str, multi_scale: bool, largest: int | None) -> None:
    text = f"__include__: []\nPResNet: {{depth: 50}}\ntrain_dataloader:\n  batch_size: 2\n  collate_fn: {loader}\n"
    plan = reading("a.yml", text).plan
    assert plan.multi_scale.value is multi_scale
    assert plan.fact("largest_image_size").value == (None if largest is None else ImageSize(largest, largest))


def test_repairs_write_the_file_itself() -> None:
    around = Surroundings(FILES, gpus=4)
    assert "micro_batch" not in reading("configs/a.yml", OWN.format(""), around).slots
    slot = reading("configs/a.yml", OWN.format("train_dataloader:\n  shuffle: True\n"), around).slots["micro_batch"]
    assert (slot.node, slot.key, slot.spell(2)) == (None, "total_batch_size", 8)


@pytest.mark.parametrize(
    ("line", "in_file", "precision"),
    [
        ("torchrun --nproc_per_node=2 tools/train.py -c a.yml --use-amp", False, Precision.FP16),
        ("torchrun --nproc_per_node=2 tools/train.py -c a.yml --amp", False, Precision.FP16),
        ("torchrun --nproc_per_node=2 tools/train.py -c a.yml", True, Precision.FP32),
        ("torchrun --nproc_per_node=2 tools/mine.py -c a.yml", True, Precision.FP16),
    ],
)
def test_the_launch_line_decides_on_amp(line: str, in_file: bool, precision: Precision) -> None:
    text = f"__include__: []\nPResNet: {{depth: 50}}\ntrain_dataloader: {{total_batch_size: 8}}\nuse_amp: {in_file}\n"
    found = reading("a.yml", text, Surroundings(launched_by=line))
    assert (found.plan.precision.value, found.plan.micro_batch.value) == (precision, 4)


@pytest.mark.parametrize(("expansion", "known"), [("", True), ("HybridEncoder: {expansion: 0.5}\n", False)])
def test_an_encoder_of_another_width_is_another_model(expansion: str, known: bool) -> None:
    model = "RTDETR: {backbone: PResNet, decoder: RTDETRTransformerv2}\nPResNet: {depth: 50}\n"
    assert reading("a.yml", f"__include__: []\n{model}{expansion}").plan.model.known is known


def test_scales_that_a_missing_file_may_say() -> None:
    assert not reading("configs/a.yml", OWN.format("")).plan.multi_scale.known


def test_files_of_others_that_include() -> None:
    assert readings("a.yaml", "__include__: [base]\noutput_dir: o\nname: n\n") == []
