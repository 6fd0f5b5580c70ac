"""The probe against a card that is simulated: 16 GB, a context of 400 MB, linear in batch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from vramlint.errors import ProbeError
from vramlint.probe.backend import Card, Meters, NotHere, OutOfMemory, Setting
from vramlint.probe.compare import Comparison, compare, table
from vramlint.probe.plans import chosen
from vramlint.probe.sweep import STEPS, Plan, probe, settings, stages, sweep

MB = 10**6


@dataclass
class FakeCard:
    """Others use 100 MB; the context takes 400, cuBLAS 8 in torch and 50 outside, a sample 1,000."""

    asked: list[Setting] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

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
    assert card.order == ["start", "multiply", "convolve"]


def test_a_line_ends_where_the_card_is_full() -> None:
    card = FakeCard()
    rows = sweep(card, PLAN, lambda _: None)
    tried = [(row.setting.checkpointing, row.setting.batch, row.measured is None) for row in rows]
    assert tried == [
        (False, 1, False), (False, 8, False), (False, 16, True),
        (True, 1, False), (True, 8, False), (True, 16, False), (True, 32, True),
    ]  # fmt: skip


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
    assert all(each.predicted_bytes > 300 * MB for each in found)
    assert "worst" in table(found)


def test_the_standard_sweep_covers_the_families_and_leaves_out_what_is_not_here() -> None:
    plan = chosen((), (), standard=True)
    every = [setting for line in settings(plan) for setting in line]
    assert len(every) == len(set(every)) == 70
    said: list[str] = []
    rows = probe(FakeCard(), plan, "2026-11-27", said.append)["rows"]
    assert "rfdetr/rfdetr_nano left out: package 'rfdetr' is not installed" in said
    assert len([row for row in rows if not row["out_of_memory"]]) >= 30
    titles = {each.title.split()[0] for each in compare(rows)}
    assert {"timm/resnet50", "timm/vit_base_patch16_224", "plain/unet", "transformers/llama-3.2-1b"} <= titles


def test_rows_of_unknown_models_are_not_compared() -> None:
    setting = Setting("decoder", 2, 1024, "fp32", False, "sgd")._asdict()
    rows = [{**setting, "out_of_memory": False, "allocated_bytes": 7}, {**setting, "out_of_memory": True}]
    assert compare(rows) == []
    assert "no measured row" in table([])


def test_the_table_has_the_worst_last() -> None:
    text = table([Comparison("bad", 2**30, 2**31, 0.7), Comparison("good", 2**30, 2**30, 0.0)])
    assert text.index("good") < text.index("bad")
    assert "median 35.0%, worst 70.0% over 2 settings" in text


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
