"""Ten run units: launch script, config, DeepSpeed JSON or accelerate YAML and Slurm header read as one run.

Each has the plan worked out by hand from the framework's own precedence, whichever of its files is checked; those
with a planted disagreement say both lines. Sources stand in ``vramlint/dialects/agreement.py`` and the dialects.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from vramlint.engine import CheckOptions, check

TRL = (
    "model_name_or_path: Qwen/Qwen2.5-0.5B\noutput_dir: out\nper_device_train_batch_size: 4\n"
    "gradient_accumulation_steps: 8\nlearning_rate: 2.0e-5\npacking: true\nmax_length: 2048\nbf16: true\n"
)
ACCELERATE = (
    "compute_environment: LOCAL_MACHINE\ndistributed_type: {kind}\nmixed_precision: {precision}\n"
    "num_machines: 1\nnum_processes: {ranks}\n"
)
AXOLOTL = (
    "base_model: NousResearch/Llama-3.2-1B\ndatasets: [{path: a/b, type: alpaca}]\nsequence_len: 2048\n"
    "micro_batch_size: 2\ngradient_accumulation_steps: 4\nlearning_rate: 2e-4\nbf16: auto\n"
)
LLAMA_FACTORY = (
    "model_name_or_path: Qwen/Qwen2.5-7B\nstage: sft\nfinetuning_type: lora\ntemplate: qwen\ncutoff_len: 2048\n"
    "per_device_train_batch_size: 1\ngradient_accumulation_steps: 8\nlearning_rate: 1.0e-4\nbf16: true\n"
)
LIGHTNING = (
    "trainer: {devices: 4, num_nodes: 1, accumulate_grad_batches: 2, precision: bf16-mixed}\n"
    "model: {class_path: a.B}\ndata: {class_path: c.D, init_args: {batch_size: 8}}\n"
)


class Unit(NamedTuple):
    """``files`` of the run; ``checked`` one by one; ``plan`` is micro batch, accumulation, ranks, effective batch."""

    files: dict[str, str]
    checked: tuple[str, ...]
    plan: tuple[int, int, int, int]
    disagreements: tuple[tuple[str, ...], ...] = ()
    """What each VL004 message must hold: both places."""


UNITS = {
    "TRL under accelerate and FSDP, a flag over the file": Unit(
        {
            "scripts/train.sh": (
                "accelerate launch --config_file configs/fsdp.yaml -m trl.cli sft --config configs/sft.yaml \\\n"
                "  --per_device_train_batch_size 2\n"
            ),
            "configs/sft.yaml": TRL,
            "configs/fsdp.yaml": ACCELERATE.format(kind="FSDP", precision="bf16", ranks=8),
        },
        ("scripts/train.sh", "configs/sft.yaml"),
        (2, 8, 8, 128),
    ),
    "TRL under accelerate's DeepSpeed, whose accumulation and precision differ": Unit(
        {
            "scripts/train.sh": "accelerate launch --config_file acc.yaml train.py --config sft.yaml\n",
            "sft.yaml": TRL,
            "acc.yaml": ACCELERATE.format(kind="DEEPSPEED", precision="fp16", ranks=4)
            + "deepspeed_config:\n  zero_stage: 3\n  gradient_accumulation_steps: 1\n",
        },
        ("scripts/train.sh", "sft.yaml"),
        (4, 8, 4, 128),
        (("sft.yaml:4", "acc.yaml:8", "ValueError"), ("sft.yaml:8", "acc.yaml:3", "fp16")),
    ),
    "LLaMA-Factory with a DeepSpeed JSON in step": Unit(
        {
            "train.sh": "FORCE_TORCHRUN=1 torchrun --nproc_per_node 2 src/train.py lora.yaml\n",
            "lora.yaml": LLAMA_FACTORY + "deepspeed: ds/z2.json\n",
            "ds/z2.json": '{"train_micro_batch_size_per_gpu": "auto", "zero_optimization": {"stage": 2}}\n',
        },
        ("train.sh", "lora.yaml"),
        (1, 8, 2, 16),
    ),
    "LLaMA-Factory with a DeepSpeed JSON that was made for another batch": Unit(
        {
            "train.sh": "torchrun --nproc_per_node 2 src/train.py lora.yaml\n",
            "lora.yaml": LLAMA_FACTORY + "deepspeed: z3.json\n",
            "z3.json": (
                '{\n  "train_micro_batch_size_per_gpu": 2,\n  "gradient_accumulation_steps": 8,\n'
                '  "zero_optimization": {"stage": 3},\n  "optimizer": {"params": {"lr": 2e-5}}\n}\n'
            ),
        },
        ("train.sh", "lora.yaml"),
        (1, 8, 2, 16),
        (("lora.yaml:6", "z3.json:2"), ("lora.yaml:8", "z3.json:5")),
    ),
    "axolotl with flags over its YAML": Unit(
        {
            "run.sh": "accelerate launch --num_processes 4 -m axolotl.cli.train qlora.yml --micro-batch-size 1\n",
            "qlora.yml": AXOLOTL,
        },
        ("run.sh", "qlora.yml"),
        (1, 4, 4, 16),
    ),
    "Slurm, srun and torchrun on two nodes": Unit(
        {
            "job.sbatch": (
                "#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH --gpus-per-node=4\n#SBATCH --ntasks-per-node=1\n"
                "srun torchrun --nnodes $SLURM_NNODES --nproc_per_node $SLURM_GPUS_ON_NODE run.py sft.yaml\n"
            ),
            "sft.yaml": TRL,
        },
        ("job.sbatch", "sft.yaml"),
        (4, 8, 8, 256),
    ),
    "Slurm gives two nodes, torchrun waits for four": Unit(
        {
            "job.sbatch": (
                "#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH --gpus-per-node=4\n"
                "srun torchrun --nnodes 4 --nproc_per_node 4 run.py sft.yaml\n"
            ),
            "sft.yaml": TRL,
        },
        ("job.sbatch", "sft.yaml"),
        (4, 8, 16, 512),
        (("job.sbatch:4", "job.sbatch:2", "never come"),),
    ),
    "Lightning's devices beside another number of ranks": Unit(
        {
            "run.sh": "torchrun --nproc_per_node 2 main.py fit --config fit.yaml\n",
            "fit.yaml": LIGHTNING,
        },
        ("run.sh", "fit.yaml"),
        (8, 2, 4, 64),
        (("fit.yaml:1", "run.sh:1", "ValueError"),),
    ),
    "torchtune with words over its YAML": Unit(
        {
            "run.sh": "tune run --nproc_per_node 4 full_finetune_distributed --config full.yaml batch_size=8\n",
            "full.yaml": (
                "batch_size: 2\ngradient_accumulation_steps: 2\nepochs: 1\n"
                "model: {_component_: torchtune.models.llama3_2.llama3_2_1b}\n"
                "optimizer: {_component_: torch.optim.AdamW, lr: 2e-5}\n"
            ),
        },
        ("run.sh", "full.yaml"),
        (8, 2, 4, 64),
    ),
    "litgpt with a flag over its YAML": Unit(
        {
            "run.sh": "litgpt finetune_lora --config lora.yaml --train.micro_batch_size 4\n",
            "lora.yaml": (
                "checkpoint_dir: checkpoints/a/b\ndevices: 2\nlora_r: 8\n"
                "train:\n  global_batch_size: 32\n  micro_batch_size: 2\n"
            ),
        },
        ("run.sh", "lora.yaml"),
        (4, 4, 2, 32),
    ),
    "arguments of a script beside the DeepSpeed JSON of its launch line": Unit(
        {
            "train.sh": (
                "deepspeed --num_gpus 4 run.py --output_dir o --per_device_train_batch_size 2 \\\n"
                "  --gradient_accumulation_steps 4 --deepspeed ds.json\n"
            ),
            "ds.json": '{"train_batch_size": 64, "zero_optimization": {"stage": 2}}\n',
        },
        ("train.sh",),
        (2, 4, 4, 32),
        (("train.sh:1", "ds.json:1", "train_batch_size 64"),),
    ),
}


@pytest.fixture(params=list(UNITS), ids=lambda name: name.replace(" ", "-")[:40])
def unit(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Unit:
    found = UNITS[request.param]
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    for path, text in found.files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return found


def test_the_plan_and_the_disagreements_from_every_file(unit: Unit) -> None:
    for path in unit.checked:
        result = check([path], CheckOptions(isolated=True))
        assert result.failures == ()
        # The YAML of accelerate launch is judged as well, but it is no run: it holds no batch.
        (run,) = [each for each in result.runs if each.reading.plan.dialect != "accelerate"]
        plan = run.reading.plan
        facts = (plan.micro_batch, plan.accumulation, plan.data_parallel, plan.effective_batch)
        assert tuple(fact.value for fact in facts) == unit.plan, path
        told = [finding.message for finding in result.findings if finding.name == "files-disagree"]
        assert len(told) == len(unit.disagreements), (path, told)
        for words, message in zip(unit.disagreements, told, strict=True):
            assert all(word in message for word in words), (path, message)


def test_there_are_ten_and_three_of_them_disagree() -> None:
    assert len(UNITS) >= 10
    assert sum(bool(unit.disagreements) for unit in UNITS.values()) >= 3


JOBS = {
    "task.yaml": (
        "resources: {accelerators: A100:8}\nnum_nodes: 2\nrun: |\n  cd work\n"
        "  torchrun --nnodes=2 --nproc_per_node=8 train.py --config sft.yaml\n"
    ),
    "job.yml": (
        "apiVersion: batch/v1\nkind: Job\nspec:\n  template:\n    spec:\n      containers:\n"
        "        - command: [torchrun, --nnodes=2, --nproc_per_node=8, train.py]\n"
        "          args: [--config, sft.yaml]\n"
    ),
    "scripts/train.yml": (
        "on: push\njobs:\n  t:\n    steps:\n"
        "      - run: torchrun --nnodes=2 --nproc_per_node=8 train.py --config sft.yaml\n"
    ),
}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_file_and_the_config_its_command_names(job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config finds the launch line inside the job, and the job leads to the config."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "scripts").mkdir()
    Path("sft.yaml").write_text(TRL, encoding="utf-8")
    Path(job).write_text(JOBS[job], encoding="utf-8")
    Path("other.yaml").write_text("run: python other.py\nservices: [a]\n", encoding="utf-8")
    for checked in ("sft.yaml", job):
        (run,) = check([checked], CheckOptions(isolated=True)).runs
        plan = run.reading.plan
        assert (plan.path, plan.world_size.value, plan.effective_batch.value) == ("sft.yaml", 16, 512)
        place = plan.world_size.location
        assert place is not None
        assert (place.path, JOBS[job][place.start : place.end]) == (job, "8")
