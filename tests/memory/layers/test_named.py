"""Models by name in the ledger: against traces of the packages' own models, and against the shipped profiles.

``tests/data/layers/named.json`` is made by ``tools/check_layers.py trace``, which needs torchvision, timm and
segmentation_models_pytorch; ``tools/check_layers.py compare tests/data/layers/named.json`` prints every row.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.memory.support import VISION, plan
from vramlint.memory.knowledge import Workload
from vramlint.memory.layers import LayerModel
from vramlint.memory.layers.named.catalogue import find_named, names
from vramlint.memory.layers.stack import TRACED
from vramlint.memory.named_models import NamedLedger, find_ledger
from vramlint.memory.profile import Profile
from vramlint.memory.profile_catalogue import find_profile, profiles
from vramlint.memory.resolve import resolve
from vramlint.plan import ImageSize, Precision

TRACES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "layers" / "named.json").read_text(encoding="utf-8")
)
TOLERANCE = 0.01


@pytest.mark.parametrize("model", TRACES, ids=[model["name"] for model in TRACES])
def test_the_ledger_by_name_equals_the_trace(model: dict[str, Any]) -> None:
    """Parameters exactly, the peak of forward and backward within 1 % at two sizes and three precisions."""
    named = find_named(model["name"])
    assert named is not None
    ledger = LayerModel(named.architecture, named.scope, stack=TRACED)
    assert ledger.parameters == model["parameters"]
    assert len(model["rows"]) == 6
    for row in model["rows"]:
        workload = Workload(
            row["batch"], Precision(row["precision"]), checkpointing=False, height=row["height"], width=row["width"]
        )
        peak = max(each.activation_bytes + 4 * each.gradient_elements for each in ledger.moments(workload))
        assert peak == pytest.approx(max(row["forward"], row["backward"]), rel=TOLERANCE), row


def test_there_are_forty_models_and_more() -> None:
    assert len(TRACES) >= 40
    assert {model["name"].partition("/")[0] for model in TRACES} >= {"torchvision", "segmentation", "unet"}


@pytest.mark.parametrize(
    ("name", "checkpointing"),
    [("plain/unet", False), ("plain/unet", True), ("attention_unet", False), ("r2unet", True)],
)
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_the_ledger_equals_the_shipped_profile(name: str, checkpointing: bool, precision: Precision) -> None:
    """Two ways to one number; in training, gradients included."""
    profile, ledger = find_profile(name), find_ledger(name)
    assert profile is not None
    assert ledger is not None
    assert ledger.parameters == profile.parameters
    workload = Workload(2, precision, checkpointing=checkpointing, height=256, width=320)
    peaks = [
        max(each.activation_bytes + 4 * each.gradient_elements for each in known.moments(workload))
        for known in (ledger, profile)
    ]
    assert peaks[0] == pytest.approx(peaks[1], rel=0.02)


def test_a_size_that_no_trace_covers_comes_from_the_ledger() -> None:
    facts = {**VISION, "model": "unet_resnet34", "precision": Precision.BF16}
    traced = resolve(plan(**{**facts, "image_size": ImageSize(384, 384)})).knowledge
    assert isinstance(traced, Profile)
    never = resolve(plan(**{**facts, "model": "manet_se_resnext50_32x4d", "image_size": ImageSize(384, 384)}))
    assert isinstance(never.knowledge, NamedLedger)
    assert "worked out layer by layer" in never.assumptions[0]


@pytest.mark.parametrize("side", [223, 224, 225, 299])
def test_odd_sizes_grow_with_the_image(side: int) -> None:
    ledger = find_ledger("torchvision/resnet50")
    assert ledger is not None

    def peak(height: int) -> int:
        workload = Workload(4, Precision.BF16, checkpointing=False, height=height, width=side)
        return max(each.activation_bytes for each in ledger.moments(workload))

    assert peak(side) < peak(side + 32)


def test_what_a_package_refuses_is_unknown() -> None:
    """smp wants multiples of 32, torchvision's ViT its one size, and neither has a switch for checkpointing."""
    unet, vit = find_ledger("linknet_resnet18"), find_ledger("vit_b_16")
    assert unet is not None
    assert vit is not None
    assert not unet.moments(Workload(2, Precision.FP32, checkpointing=False, height=100, width=100))
    assert not vit.moments(Workload(2, Precision.FP32, checkpointing=False, height=256, width=256))
    assert not unet.moments(Workload(2, Precision.FP32, checkpointing=True, height=128, width=128))


@pytest.mark.parametrize("name", ["our-net", "unet-of-ours", "resnet51", "unet_resnet51", "fpn_mit_b9", "vgg12"])
def test_names_that_are_not_known(name: str) -> None:
    assert find_ledger(name) is None


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("yolov5n_anchors", 1_872_157), ("yolov5s_anchors", 7_235_389), ("yolov5m_anchors", 21_190_557),
        ("yolov5l_anchors", 46_563_709), ("yolov5x_anchors", 86_749_405), ("yolov8x.pt", 68_229_648),
        ("regnet_x_400mf", 5_495_976), ("regnet_x_1_6gf", 9_190_136), ("regnet_x_16gf", 54_278_536),
        ("regnet_y_800mf", 6_432_512), ("regnet_y_8gf", 39_381_472), ("regnet_y_16gf", 83_590_140),
        ("yolo11l.yaml", 25_372_160), ("yolov12x", 59_210_784), ("yolov5su.pt", 9_153_152),
    ],
)  # fmt: skip
def test_models_have_the_parameters_that_their_packages_print(name: str, parameters: int) -> None:
    """ultralytics/yolov5 v7.0 ``models/yolov5*.yaml``, the package's model files, torchvision 0.28's ``num_params``."""
    ledger = find_ledger(name)
    assert ledger is not None
    assert ledger.parameters == parameters


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("ResNet-50", "resnet50"),
        ("torchvision/VGG16", "vgg16"),
        ("Unet-resnet34", "unet_resnet34"),
        ("deeplabv3+_resnet50", "deeplabv3plus_resnet50"),
        ("unet++_vgg16_bn", "unetplusplus_vgg16_bn"),
        ("runs/yolov8n.pt", "yolov8n"),
    ],
)
def test_names_as_people_write_them(written: str, name: str) -> None:
    found = find_named(written)
    assert found is not None
    assert found.name == name


def test_every_listed_name_can_be_built() -> None:
    """Parameters of all of them, without running one."""
    for name in names():
        found = find_ledger(name)
        assert found is not None
        assert found.parameters > 100_000, name


def test_masks_of_a_detector_are_not_passed_over() -> None:
    facts = {**VISION, "model": "yolov5l", "image_size": ImageSize(640, 640)}
    assert resolve(plan(**facts, task="detect")).knowledge is not None
    masked = resolve(plan(**facts, task="segment"))
    assert masked.knowledge is None
    assert "masks" in masked.because


def test_the_older_repository_has_its_own_head() -> None:
    facts = {**VISION, "model": "yolov5s", "image_size": ImageSize(640, 640)}
    older = resolve(plan({"implementation": "yolov5"}, **facts)).knowledge
    newer = resolve(plan(**facts)).knowledge
    assert older is not None
    assert newer is not None
    assert (older.parameters, newer.parameters) == (7_235_389, 9_153_152)


@pytest.mark.parametrize(("channels", "classes"), [(3, 1), (13, 1), (3, 19), (4, 8)])
def test_channels_and_classes_of_the_plan_change_the_model(channels: int, classes: int) -> None:
    """By the first and the last convolution exactly, and never less memory for more of them."""
    facts = {**VISION, "model": "fpn_resnet50", "image_size": ImageSize(256, 256), "num_classes": classes}
    found = resolve(plan({"in_channels": channels}, **facts)).knowledge
    usual = find_ledger("fpn_resnet50")
    assert found is not None
    assert usual is not None
    assert found.parameters - usual.parameters == 64 * 49 * (channels - 3) + (128 + 1) * (classes - 1)


def test_the_ledger_equals_every_shipped_profile_of_its_models() -> None:
    """Under autocast, batch 8, at 256 x 256 or the size that layers round: smp, torchvision, Ultralytics and timm."""
    compared, apart = 0, {}
    for name in names():
        profile, ledger = find_profile(name), find_ledger(name)
        assert ledger is not None
        if profile is None or profile.parameters != ledger.parameters:
            continue
        height, width = (profile.default_size if profile.size_multiple == 1 else None) or (256, 256)
        workload = Workload(8, Precision.BF16, checkpointing=False, height=height, width=width)
        ours, traced = (
            max((each.activation_bytes + 4 * each.gradient_elements for each in known.moments(workload)), default=0)
            for known in (ledger, profile)
        )
        if ours and traced:
            compared += 1
            if abs(ours / traced - 1) > 2 * TOLERANCE:
                apart[name] = ours / traced - 1
    assert compared > 100
    assert not apart


def test_a_trace_of_one_size_speaks_of_that_size_alone() -> None:
    """A trace of one size holds all bytes to follow the batch; the fp32 traces of some timm models may be such."""
    whole = find_profile("timm/efficientnet_b6")
    assert whole is not None
    amp = whole.variants["amp"]
    assert amp.knows_size
    moments = tuple(each._replace(coefficients=(*each.coefficients[:2], 0.0, 0.0)) for each in amp.fresh)
    blind = whole._replace(variants={"amp": amp._replace(fresh=moments)})
    small = Workload(8, Precision.BF16, checkpointing=False, height=224, width=224)
    assert blind.only_size(blind.variants["amp"]) == (528, 528)
    assert not blind.moments(small)
    assert blind.moments(small._replace(height=528, width=528))
    assert "528x528 alone" in blind.missing(small)


def test_every_shipped_trace_under_autocast_knows_the_image_size() -> None:
    for name in profiles():
        profile = find_profile(name)
        assert profile is not None
        variant = profile.variants.get("amp")
        assert variant is None or profile.fixed_size is not None or variant.knows_size, name


def test_every_name_is_found_by_its_beginning() -> None:
    missing = [name for name in names() if find_named(name) is None]
    assert not missing


def test_one_family_is_imported_for_its_names_alone() -> None:
    code = (
        "import sys; from vramlint.memory.layers.named.catalogue import find_named; find_named('r2unet');"
        "print(*(name.rpartition('.')[2] for name in sys.modules if '.layers.named.' in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torchvision", "segmentation", "yolo"}.isdisjoint(done.stdout.split())
    assert "unets" in done.stdout.split()
