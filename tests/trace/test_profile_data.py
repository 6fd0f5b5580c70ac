"""The torch-free side: reading profiles, their moments, names and speed."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

from vramlint.errors import TraceError
from vramlint.memory.knowledge import Moment, Workload
from vramlint.memory.pack import Pack, pack_key, pack_text
from vramlint.memory.profile import load_profile
from vramlint.memory.profile_catalogue import FAMILIES, FOLDER, find_profile, profiles
from vramlint.plan import Precision

# One 3x3 convolution of 3 -> 8 channels (224 parameters) and a ReLU, fp32; the numbers need only be easy to check by
# hand: 76 bytes a pixel are the input (12) and both outputs (32 each) while ReLU runs.
HAND_MADE = {
    "schema": 1,
    "name": "hand_made",
    "parameters": 224,
    "trainable": 224,
    "buffer_bytes": 0,
    "built_by": {"torch": "2.13.0"},
    "date": "2026-11-21",
    "assumptions": ["loss: mean"],
    "size_multiple": 1,
    "fixed_size": None,
    "variants": {
        "fp32": {
            "terms": ["1", "B", "BHW"],
            "fresh": [["forward", [4, 0, 76], 0], ["backward", [4, 0, 108], 224]],
            "kept": [["backward", [900, 0, 108], 224]],
            "evaluation": [["evaluation", [4, 0, 64], 0]],
            "residual": 0.0,
        }
    },
}


def workload(**changes: object) -> Workload:
    base = Workload(micro_batch=2, precision=Precision.FP32, checkpointing=False, height=10, width=20)
    return base._replace(**changes)  # type: ignore[arg-type]


def test_moments_are_the_terms_times_their_coefficients() -> None:
    found = load_profile(HAND_MADE).moments(workload())
    assert found == (
        Moment("forward", 4 + 76 * 400, 0),
        Moment("backward", 4 + 108 * 400, 224),
        Moment("evaluation", 4 + 64 * 400, 0),
    )


def test_kept_gradients_have_their_own_moments() -> None:
    found = load_profile(HAND_MADE).moments(workload(gradients_kept=True))
    assert [moment.phase for moment in found] == ["backward", "evaluation"]
    assert found[0].activation_bytes == 900 + 108 * 400


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": Precision.BF16},
        {"precision": Precision.PURE_BF16},
        {"precision": Precision.FP8},
        {"checkpointing": True},
        {"height": 0},
    ],
)
def test_what_was_not_traced_has_no_moments(changes: dict[str, object]) -> None:
    assert load_profile(HAND_MADE).moments(workload(**changes)) == ()


def test_a_fixed_size_answers_for_that_size_only() -> None:
    profile = load_profile({**HAND_MADE, "fixed_size": [10, 20]})
    assert profile.moments(workload())
    assert profile.moments(workload(height=20)) == ()


def test_forward_without_graph() -> None:
    profile = load_profile(HAND_MADE)
    assert profile.forward_without_graph_bytes(workload()) == 4 + 64 * 400
    assert profile.forward_without_graph_bytes(workload(precision=Precision.FP16)) is None


def _without(key: str) -> dict[str, object]:
    data = copy.deepcopy(HAND_MADE)
    del data[key]  # type: ignore[arg-type]
    return data


def _with_variant(**changes: object) -> dict[str, object]:
    data = copy.deepcopy(HAND_MADE)
    data["variants"]["fp32"].update(changes)  # type: ignore[index,attr-defined]
    return data


@pytest.mark.parametrize(
    "data",
    [
        {},
        {**HAND_MADE, "schema": 99},
        _without("variants"),
        _without("parameters"),
        _with_variant(terms=["1", "B", "B^3"]),
        _with_variant(fresh=[["forward", [1, 2], 0]]),
        _with_variant(fresh=7),
    ],
)
def test_malformed_profiles_are_refused(data: dict[str, object]) -> None:
    with pytest.raises(TraceError):
        load_profile(data)


PACKS = [pytest.param(family, id=family) for family in FAMILIES if Path(FOLDER, f"{family}.jsonl").exists()]


def allowed_residual(family: str, size_multiple: int) -> float:
    """RF-DETR's loss loops over images; sizes that layers round are exact to 2 %; all else to half a percent."""
    if family == "rfdetr":
        return 0.015
    return 0.02 if size_multiple == 1 else 0.005


@pytest.mark.parametrize("family", PACKS)
def test_every_shipped_profile_reads_and_keeps_its_name(family: str) -> None:
    pack = Pack(str(Path(FOLDER, f"{family}.jsonl")))
    for name in pack.names():
        data = pack.find(pack_key(name))
        assert data is not None
        found = load_profile(data)
        assert found.name == name
        assert found.variants
        limit = allowed_residual(family, found.size_multiple)
        assert all(variant.residual <= limit for variant in found.variants.values()), name
        assert found.built_by["torch"]


@pytest.mark.parametrize("family", PACKS)
def test_a_pack_is_sorted_and_its_aliases_lead_to_profiles(family: str) -> None:
    text = Path(FOLDER, f"{family}.jsonl").read_text(encoding="utf-8")
    keys = [json.loads(line)["key"] for line in text.splitlines()]
    assert keys == sorted(set(keys))
    pack = Pack(str(Path(FOLDER, f"{family}.jsonl")))
    assert not {key for key in pack.aliases() if pack.find(key) is None}


def test_the_catalogue_is_large_and_its_files_small() -> None:
    assert sum(Path(FOLDER, f"{family}.jsonl").stat().st_size for family in FAMILIES if family in str(PACKS)) < 8e6
    assert len(profiles()) == len(set(profiles()))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_every_key_of_a_pack_is_found_and_no_other(tmp_path: Path, count: int) -> None:
    names = [f"net{number}" for number in range(count)]
    file = tmp_path / "some.jsonl"
    profiles_by_key = {name: {"name": name, "schema": 1, "parameters": 7} for name in names}
    file.write_text(pack_text({"schema": 1}, profiles_by_key, {"other": "net0"} if count else {}), encoding="utf-8")
    pack = Pack(str(file))
    for name in names:
        assert pack.find(name) == {"key": name, "name": name, "schema": 1, "parameters": 7}
    assert pack.find("other") == (pack.find("net0") if count else None)
    for absent in ("", "a", "net", "net99", "zzz"):
        assert absent == "" or pack.find(absent) is None
    assert sorted(pack.names()) == sorted(names)


def test_an_unknown_model_has_no_profile() -> None:
    assert find_profile("no-such-model-9000") is None


def test_looking_up_a_profile_is_fast() -> None:
    """In a fresh process, imports aside: the first look-up reads one small file."""
    code = (
        "import time; from vramlint.memory.profile_catalogue import find_profile\n"
        "start = time.perf_counter(); assert find_profile('resnet50'); print(time.perf_counter() - start)"
    )
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(seconds) < 0.005


def test_evaluating_a_profile_takes_microseconds() -> None:
    profile = find_profile("resnet50")
    assert profile is not None
    case = Workload(8, Precision.FP32, checkpointing=False, height=224, width=224)
    assert min(timeit.repeat(lambda: profile.moments(case), number=100, repeat=30)) / 100 < 20e-6


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("ResNet-50", "resnet50"),
        ("resnet_50", "resnet50"),
        ("yolov12s.pt", "yolo12s"),
        ("weights/yolo11n.pt", "yolo11n"),
        ("RFDETRSegNano", "rfdetr_seg_nano"),
        ("rf-detr-base", "rfdetr_base"),
        ("HRNet-W32", "hrnet_w32"),
        ("U-Net", "unet"),
        ("vit_b_16", "vit_base_patch16_224"),
        ("resnet50.a1_in1k", "resnet50"),
        ("timm/resnet50.a1_in1k", "resnet50"),
        ("ssl_resnet18", "resnet18"),
    ],
)
def test_models_are_found_as_people_spell_them(spelled: str, name: str) -> None:
    found = find_profile(spelled)
    assert found is not None
    assert found.name == name
