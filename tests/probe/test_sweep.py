"""The probe against a card that is simulated: 16 GB, a context of 400 MB, linear in batch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vramlint.cli.main import main
from vramlint.errors import ProbeError
from vramlint.probe.backend import Card, Meters, NotHere, OutOfMemory, Setting
from vramlint.probe.compare import Compared, Comparison, compare, table
from vramlint.probe.plans import chosen
from vramlint.probe.sweep import STEPS, Plan, probe, settings, stages, sweep, use_of

MB = 10**6


@dataclass
class FakeCard:
    """Others use 100 MB; the context takes 400, cuBLAS 8 in torch and 50 outside, a sample 1,000."""

    asked: list[Setting] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    cards: int = 1

    def card(self) -> Card:
        return Card("Fake 16GB", "8.6", 16_000 * MB, "570.1", "2.13.0", "13.0")

    def idle_bytes(self) -> int:
        return 100 * MB

    def start(self) -> Meters:
        self.order.append("start")
        return Meters(1 * MB, 2 * MB, 502 * MB)

    def multiply(self) -> Meters:
        self.order.append("multiply")
        return Meters(9 * MB, 22 * MB, 572 * MB)

    def convolve(self) -> Meters:
        self.order.append("convolve")
        return Meters(9 * MB, 42 * MB, 642 * MB)

    def communicate(self) -> Meters | None:
        self.order.append("communicate")
        return Meters(9 * MB, 62 * MB, 962 * MB) if self.cards > 1 else None

    def largest_bytes(self) -> int:
        return 15_300 * MB

    def train(self, setting: Setting, steps: int) -> Meters:
        assert steps == STEPS
        self.asked.append(setting)
        allocated = setting.batch * 1_000 * MB // (2 if setting.checkpointing else 1)
        if setting.model.startswith("rfdetr/"):
            raise NotHere("package 'rfdetr' is not installed")
        if allocated > 15_300 * MB:
            raise OutOfMemory
        return Meters(allocated, allocated + 200 * MB, allocated + 800 * MB)


PLAN = Plan(
    models=(("resnet50", 224),),
    batches=(1, 8, 16, 32),
    precisions=("fp32",),
    checkpointing=(False, True),
    optimizers=("sgd",),
)


def test_stages_tell_the_context_from_torch_and_from_others() -> None:
    card = FakeCard()
    found = {stage.name: stage.outside_torch_bytes // MB for stage in stages(card)}
    assert found == {"before": 0, "context": 400, "cublas": 450, "cudnn": 500}
    assert card.order == ["start", "multiply", "convolve", "communicate"]


def test_nccl_is_measured_where_there_is_a_second_card() -> None:
    found = {stage.name: stage.outside_torch_bytes // MB for stage in stages(FakeCard(cards=2))}
    assert found["nccl"] - found["cudnn"] == 300


def test_a_line_ends_where_the_card_is_full() -> None:
    card = FakeCard()
    rows = list(sweep(card, PLAN, lambda _: None))
    tried = [(row.setting.checkpointing, row.setting.batch, row.measured is None) for row in rows]
    assert tried == [
        (False, 1, False), (False, 8, False), (False, 16, True),
        (True, 1, False), (True, 8, False), (True, 16, False), (True, 32, True),
    ]  # fmt: skip


def test_a_sweep_that_is_cut_short_has_kept_what_it_measured() -> None:
    kept: list[int] = []
    clock = iter([True, True, False])
    said: list[str] = []
    result = probe(
        FakeCard(), PLAN, "2026-11-21", said.append,
        in_time=lambda: next(clock), keep=lambda so_far: kept.append(len(so_far["rows"])),
    )  # fmt: skip
    assert kept == [0, 1, 2]
    assert len(result["rows"]) == 2
    assert "time is up" in said[-1]


def test_all_rows_of_a_model_are_for_one_use() -> None:
    lines = chosen((), (), standard=True).lines
    uses = {line[0].model: use_of(line[0].model) for line in lines}
    rows = [uses[setting.model] for line in lines for setting in line]
    assert 0.3 < rows.count("check") / len(rows) < 0.7


def test_the_full_sweep_has_every_combination_once() -> None:
    lines = list(settings(Plan()))
    every = [setting for line in lines for setting in line]
    assert len(every) == len(set(every)) == 4 * 7 * 3 * 2 * 2
    assert all(line == sorted(line, key=lambda setting: setting.batch) for line in lines)


def test_the_result_is_json_with_card_stages_and_rows() -> None:
    said: list[str] = []
    result = json.loads(json.dumps(probe(FakeCard(), PLAN, "2026-11-21", said.append)))
    assert result["schema"] == "vramlint.probe/1"
    assert result["date"] == "2026-11-21"
    assert result["card"]["driver"] == "570.1"
    assert result["usable_bytes"] == 15_300 * MB
    assert [stage["name"] for stage in result["stages"]] == ["before", "context", "cublas", "cudnn"]
    full = [row for row in result["rows"] if row["out_of_memory"]]
    assert [row["batch"] for row in full] == [16, 32]
    assert result["rows"][0]["slack_bytes"] == 200 * MB
    assert any("out of memory" in line for line in said)


def test_predictions_stand_beside_measurements() -> None:
    rows = probe(FakeCard(), PLAN, "2026-11-21", lambda _: None)["rows"]
    found = compare(rows)
    assert [each.title for each in found][:2] == ["resnet50 1x224 fp32 sgd", "resnet50 8x224 fp32 sgd"]
    assert all(meter.predicted_bytes > 300 * MB for each in found for meter in each.meters.values())
    assert [list(each.meters) for each in found] == [["allocated", "reserved", "device"]] * len(found)
    others = compare(rows, idle_bytes=100 * MB)[0].meters["device"]
    assert found[0].meters["device"].measured_bytes - others.measured_bytes == 100 * MB
    assert "worst" in table(found)


def test_the_standard_sweep_covers_the_families_and_leaves_out_what_is_not_here() -> None:
    plan = chosen((), (), standard=True)
    every = [setting for line in settings(plan) for setting in line]
    assert len(every) == len(set(every)) >= 100
    said: list[str] = []
    rows = probe(FakeCard(), plan, "2026-11-27", said.append)["rows"]
    assert "rfdetr/rfdetr_nano left out: package 'rfdetr' is not installed" in said
    families = {setting.model.partition("/")[0] for setting in every}
    assert families == {
        "timm", "plain", "landmarks", "segmentation", "ultralytics", "rfdetr", "transformers", "encoder", "diffusers",
    }  # fmt: skip
    assert len(rows) >= 60
    assert len([row for row in rows if not row["out_of_memory"]]) >= 40


def test_the_command_itself_against_the_simulated_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("vramlint.probe.cuda.CudaBackend", lambda index: FakeCard())
    file = tmp_path / "probe.json"
    assert main(["probe", "--standard", "--minutes", "5", "--output", str(file)]) == 0
    result = json.loads(file.read_text(encoding="utf-8"))
    assert {row["use"] for row in result["rows"]} == {"set", "check"}
    out = capsys.readouterr().out
    for model in ("timm/resnet50", "timm/vit_base_patch16_224", "plain/unet", "transformers/llama-3.2-1b"):
        assert f"{model} " in out
    for summary in ("allocated: median", "reserved: median", "device: median", "rows to check constants: median"):
        assert summary in out


def test_rows_of_unknown_models_are_not_compared() -> None:
    setting = Setting("decoder", 2, 1024, "fp32", False, "sgd")._asdict()
    rows = [{**setting, "out_of_memory": False, "allocated_bytes": 7}, {**setting, "out_of_memory": True}]
    assert compare(rows) == []
    assert "no measured row" in table([])


def test_the_table_has_the_worst_last() -> None:
    bad, good = ({"allocated": Compared(2**30, size)} for size in (2**31, 2**30))
    text = table([Comparison("bad", bad), Comparison("good", good)])
    assert text.index("good") < text.index("bad")
    assert "allocated: median 34.7%, worst 69.3% over 2 settings" in text
    assert "reserved: nothing measured" in text


@pytest.mark.parametrize(
    ("models", "batches", "quick", "expected"),
    [
        ((), (), False, 4 * 7 * 3 * 2 * 2),
        ((), (), True, 2 * 3 * 3 * 2),
        (("resnet50",), (4, 2), False, 2 * 3 * 2 * 2),
        (("unet",), (), True, 3 * 3 * 2),
    ],
)
def test_the_command_line_cuts_the_sweep(
    models: tuple[str, ...], batches: tuple[int, ...], quick: bool, expected: int
) -> None:
    assert sum(map(len, settings(chosen(models, batches, quick=quick)))) == expected


def test_a_model_outside_the_sweep_is_refused() -> None:
    with pytest.raises(ProbeError, match="no model 'bert'"):
        chosen(("bert",), (), quick=False)
