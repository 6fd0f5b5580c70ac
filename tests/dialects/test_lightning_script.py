"""Lightning's Trainer calls and the loaders beside them."""

from __future__ import annotations

import pytest

from tests.dialects.support import Surroundings, reading, readings, told
from vramlint.plan import TrainingPlan

SCRIPT = """\
import lightning as L
from torch.utils.data import DataLoader

{loaders}
trainer = L.Trainer({arguments})
trainer.fit(model, train)
"""


def plan_of(
    arguments: str, loaders: str = "dm = Birds(batch_size=8, num_workers=4)", launcher: str = ""
) -> TrainingPlan:
    text = SCRIPT.format(arguments=arguments, loaders=loaders)
    return reading("train.py", text, Surroundings(launched_by=launcher)).plan


@pytest.mark.parametrize(
    ("arguments", "launcher", "ranks", "effective"),
    [
        ("devices=4, accumulate_grad_batches=2", "", 4, 64),
        ("devices=[0, 3]", "", 2, 16),
        ('devices="2", num_nodes=2', "", 4, 32),
        ('devices="auto", max_epochs=3', "", None, None),
        ('devices="auto", max_epochs=3', "torchrun --nproc_per_node=8 train.py", 8, 64),
        ("devices=-1", "", None, None),
        ("devices=GPUS, max_epochs=3", "", None, None),
    ],
)
def test_effective_batch(arguments: str, launcher: str, ranks: int | None, effective: int | None) -> None:
    plan = plan_of(arguments, launcher=launcher)
    assert plan.dialect == "lightning_script"
    assert plan.data_parallel.value == ranks
    assert plan.effective_batch.value == effective


@pytest.mark.parametrize(
    ("loaders", "expected"),
    [
        ("train = DataLoader(a, batch_size=16, shuffle=True)\nval = DataLoader(b, batch_size=64)", 16),
        ("train = DataLoader(a, batch_size=16)\nval = DataLoader(b, batch_size=64)", None),
        ("train = DataLoader(a, batch_size=16)\nval = DataLoader(b, batch_size=16)", 16),
        ("train = DataLoader(a, batch_size=size, shuffle=True)", None),
        ("train = make()", None),
    ],
)
def test_the_batch_of_the_training_loader(loaders: str, expected: int | None) -> None:
    assert plan_of("devices=1", loaders).micro_batch.value == expected


def test_precision_sharding_and_places() -> None:
    plan = plan_of('devices=2, precision="bf16-true", strategy="fsdp"')
    assert told(plan.precision) == ("pure-bf16", "file", 5)
    assert plan.sharding.value == "fsdp"
    assert told(plan.micro_batch) == (8, "file", 4)
    assert told(plan.workers_per_rank) == (4, "file", 4)


@pytest.mark.parametrize(
    "text",
    [
        "from transformers import Trainer\nTrainer(model=model, args=args, train_dataset=data).train()\n",
        "import lightning\nTrainer(model, args=TrainingArguments(max_steps=3), max_steps=3)\n",
        "from mine import Trainer\nTrainer(max_epochs=3, devices=2)\n",
    ],
)
def test_other_trainers_are_not_lightnings(text: str) -> None:
    assert all(found.plan.dialect != "lightning_script" for found in readings("train.py", text))
