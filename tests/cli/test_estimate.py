"""``vramlint estimate`` and ``vramlint models`` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vramlint.cli.main import main

CONFIG = """\
# vramlint: gpu=t4
model: {name: resnet50}
trainer: {epochs: 3, lr: 1.0e-4, optimizer: adamw}
dataset:
  root: /data
  image_size: 512
  batch_size: 4
  num_workers: 4
"""


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "train.yml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def estimates(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        run(capsys, "estimate", "train.yml", "--output-format", "json", *arguments)
    )["estimates"]
    return found


def value(row: dict[str, Any], meter: str = "device_bytes") -> float:
    return float(row[meter]["value"]) / 2**30


def test_the_largest_batch_is_where_one_more_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = estimates(capsys, "--largest-batch")
    largest = row["largest_batch"]
    assert row["micro_batch"] == largest["fits"] > 4
    assert row["verdict"] == "fits"
    next_rows = estimates(
        capsys, "--sweep", f"batch={largest['fits'] + 1},{largest['by_value']},{largest['by_value'] + 1}"
    )
    assert [each["verdict"] for each in next_rows] == ["tight", "tight", "over"]


def test_the_largest_batch_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert "largest batch that fits: " in run(capsys, "estimate", "train.yml", "--largest-batch")
    several = run(capsys, "estimate", "train.yml", "--largest-batch", "--gpu", "t4", "--gpu", "rtx3090")
    assert several.count("largest batch that fits") == 2
    none = run(capsys, "estimate", "train.yml", "--largest-batch", "--gpu", "1gb")
    assert "no batch fits" in none


def test_a_sweep_over_cards(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "estimate", "train.yml", "--sweep", "gpu=t4,a100-80gb")
    assert "on each GPU" in text
    assert [row["swept"] for row in estimates(capsys, "--sweep", "gpu=t4,a100-80gb")] == ["t4", "a100-80gb"]


def test_two_sweeps_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "train.yml", "--sweep", "batch=1..2", "--sweep", "image_size=64,128"]) == 2
    assert "at once" in capsys.readouterr().err


def test_verbose_names_the_source_of_every_component(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "estimate", "train.yml", "--verbose")
    rows = estimates(capsys)[0]["components"]
    assert all(row["origin"] for row in rows)
    assert "torch.optim" in text
    assert "torch.optim" not in run(capsys, "estimate", "train.yml")


@pytest.mark.parametrize(("meter", "field"), [("", "device_bytes"), (":allocated", "allocated_bytes")])
def test_one_point_is_met_and_narrows(capsys: pytest.CaptureFixture[str], meter: str, field: str) -> None:
    (plain,) = estimates(capsys)
    (row,) = estimates(capsys, "--observed", f"4=4.0GiB{meter}")
    assert value(row, field) == pytest.approx(4.0, rel=1e-6)
    assert row[field]["high"] - row[field]["low"] < plain[field]["high"] - plain[field]["low"]
    activations = next(part for part in row["components"] if part["name"] == "activations")
    assert activations["origin"].startswith("observed: ")


def test_one_point_scales_the_activations_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    plain = estimates(capsys, "--sweep", "batch=4,8")
    rows = estimates(capsys, "--sweep", "batch=4,8", "--observed", "4=3.5GiB")
    over = [value(row) - value(before) for row, before in zip(rows, plain, strict=True)]
    assert over[1] == pytest.approx(2 * over[0], rel=0.1)
    offset = value(plain[1]) + over[0]
    assert rows[1]["device_bytes"]["low"] / 2**30 < offset


def test_two_points_give_a_slope(capsys: pytest.CaptureFixture[str]) -> None:
    rows = estimates(capsys, "--sweep", "batch=2,4,6", "--observed", "2=3GiB", "--observed", "6=7GiB")
    assert [value(row) for row in rows] == pytest.approx([3, 5, 7], rel=0.01)


def test_points_of_another_plan_say_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plain = estimates(capsys)
    (tmp_path / ".vramlint").mkdir()
    point = {"schema": 1, "micro_batch": 4, "bytes": 2**33, "plan": "0123456789abcdef"}
    (tmp_path / ".vramlint" / "observations.jsonl").write_text(json.dumps(point) + "\n")
    assert estimates(capsys) == plain


def test_points_of_the_repository_are_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from vramlint.engine import check
    from vramlint.memory.observations import Meter, line_of, observation_of

    plan = check(["train.yml"]).runs[0].reading.plan
    (tmp_path / ".vramlint").mkdir()
    line = line_of(observation_of(plan, 4 * 2**30, Meter.DEVICE))
    (tmp_path / ".vramlint" / "observations.jsonl").write_text(line)
    (row,) = estimates(capsys)
    assert value(row) == pytest.approx(4.0, rel=1e-6)
    (isolated,) = estimates(capsys, "--isolated")
    assert value(isolated) < 3


def test_a_broken_observation_is_named_with_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / ".vramlint").mkdir()
    (tmp_path / ".vramlint" / "observations.jsonl").write_text("\n{\n")
    assert main(["estimate", "train.yml"]) == 2
    assert "observations.jsonl:2" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["4", "x=1GiB", "4=1", "4=1GiB:guess", "4=0GiB"])
def test_an_observation_that_cannot_be_read(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert main(["estimate", "train.yml", "--observed", text]) == 2
    assert "--observed" in capsys.readouterr().err


def test_an_unknown_model_by_its_parameters_and_a_point(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "train.yml").write_text(CONFIG.replace("resnet50", "our_net"))
    settings = '[[models]]\nmatch = "our_*"\nparameters = "100M"\n'
    (tmp_path / "vramlint.toml").write_text(settings)
    (unknown,) = estimates(capsys)
    assert unknown["allocated_bytes"] is None
    assert "not for this precision, size or checkpointing" in unknown["unknown_because"]
    (tmp_path / "vramlint.toml").write_text(settings + 'observations = [{batch = 2, memory = "5GiB"}]\n')
    two, four = estimates(capsys, "--sweep", "batch=2,4")
    assert value(two) == pytest.approx(5.0, rel=0.01)
    # 100 M parameters in fp32 with AdamW are 1.1 GiB of states, which do not grow.
    assert 7 < value(four) < 9.5
    assert four["components"][-1]["origin"].startswith("observed: ")


def test_an_unknown_model_by_two_points_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "train.yml").write_text(CONFIG.replace("resnet50", "our_net"))
    one = '[[models]]\nmatch = "our_net"\nobservations = [{batch = 2, memory = "3GiB"}'
    (tmp_path / "vramlint.toml").write_text(one + "]\n")
    (row,) = estimates(capsys)
    assert "observe a second one" in row["unknown_because"]
    (tmp_path / "vramlint.toml").write_text(one + ', {batch = 6, memory = "7GiB"}]\n')
    assert value(estimates(capsys)[0]) == pytest.approx(5.0, rel=0.01)


def test_another_name_for_a_known_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plain = estimates(capsys)
    (tmp_path / "train.yml").write_text(CONFIG.replace("resnet50", "our_net"))
    (tmp_path / "vramlint.toml").write_text('[[models]]\nmatch = "OUR_NET"\nlike = "resnet50"\n')
    assert estimates(capsys)[0]["allocated_bytes"] == plain[0]["allocated_bytes"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("parameters = 5", "needs match"),
        ('match = "x"', "needs one of"),
        ('match = "x"\nparameters = 5\nlike = "y"', "keep one"),
        ('match = "x"\nparameters = "many"', "expected a number"),
        ('match = "x"\nparams = 5', "unknown key 'params'"),
        ('match = "x"\nparameters = 5\ntrainable = 6', "exceeds"),
        ('match = "x"\nobservations = [{batch = 2}]', "memory = None"),
        ('match = "x"\nobservations = [{batch = 2, memory = "5GiB", meter = "eye"}]', "meter = 'eye'"),
        ('match = "x"\nshape = {hidden = 64}', "layers and heads and ffn and vocabulary missing"),
    ],
)
def test_a_model_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, table: str, words: str
) -> None:
    (tmp_path / "vramlint.toml").write_text(f"[[models]]\n{table}\n")
    assert main(["estimate", "train.yml"]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert "vramlint.toml:1" in printed


def models(capsys: pytest.CaptureFixture[str], *query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(capsys, "models", *query, "--output-format", "json"))["models"]
    return found


def test_models_lists_all_with_their_source(capsys: pytest.CaptureFixture[str]) -> None:
    every = models(capsys)
    assert len(every) > 300
    assert all(model["source"] and model["parameters"] for model in every)


def test_models_finds_what_a_name_stands_for_first(capsys: pytest.CaptureFixture[str]) -> None:
    found = models(capsys, "unsloth/llama-3-8b-bnb-4bit")
    assert found[0]["name"] == "meta-llama/Meta-Llama-3-8B"
    assert models(capsys, "resnet50.a1_in1k")[0]["name"] == "resnet50"


def test_models_searches_words(capsys: pytest.CaptureFixture[str]) -> None:
    names = [model["name"] for model in models(capsys, "qwen", "vl", "7b")]
    assert "Qwen/Qwen2.5-VL-7B-Instruct" in names
    assert all("VL" in name for name in names)
    assert "vision tower of 677 M" in run(capsys, "models", "Qwen2.5-VL-7B")


def test_models_that_are_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "no-such-net"]) == 2
    assert "no model known" in capsys.readouterr().err


def test_every_known_model_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = run(capsys, "models").splitlines()
    assert len(listed) > 2000
    names = [line.split()[0] for line in listed]
    for name in ("resnet50", "nnunet", "meta-llama/Llama-3.1-8B", "yolo12s", "flux.1-dev", "detr_resnet50"):
        assert name.lower() in {each.lower() for each in names}, name


DETECTOR = """\
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  BACKBONE: {NAME: build_resnet_fpn_backbone}
  RESNETS: {OUT_FEATURES: [res2, res3, res4, res5]}
  FPN: {IN_FEATURES: [res2, res3, res4, res5]}
  ANCHOR_GENERATOR: {SIZES: [[32], [64], [128], [256], [512]], ASPECT_RATIOS: [[0.5, 1.0, 2.0]]}
  RPN: {IN_FEATURES: [p2, p3, p4, p5, p6]}
  ROI_HEADS: {NAME: StandardROIHeads, IN_FEATURES: [p2, p3, p4, p5]}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 2, POOLER_RESOLUTION: 7}
SOLVER: {IMS_PER_BATCH: 2}
VERSION: 2
"""


def test_a_sweep_over_sizes_reaches_detectors_that_pad_their_batches(capsys: pytest.CaptureFixture[str]) -> None:
    Path("faster_rcnn.yaml").write_text(DETECTOR)
    text = run(
        capsys,
        "estimate",
        "faster_rcnn.yaml",
        "--gpus",
        "1",
        "--sweep",
        "image_size=512,1024",
        "--output-format",
        "json",
    )
    small, large = (row["allocated_bytes"]["value"] for row in json.loads(text)["estimates"])
    assert small < large / 2
