"""The sequences are longer than the model has positions.

Why: learned position embeddings are a table; a token past its end reads outside of it, which CUDA reports as
"device-side assert triggered". Megatron-LM refuses at its start. Rotary and ALiBi models have no such table.

Example: ``block_size: 2048`` for GPT-2, which has 1,024 positions.

Fix safety: unsafe. Shorter sequences are another experiment.

Sources: ``max_position_embeddings`` / ``n_positions`` in the models' ``config.json`` (openai-community/gpt2,
facebook/opt-1.3b, google-bert/bert-base-uncased, EleutherAI/gpt-neo-1.3B, bigcode/starcoder); Megatron-LM 2026-08
``training/arguments.py`` (``assert args.max_position_embeddings >= args.seq_length``).
"""

import re
from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._cases import megatron, trainer
from vramlint_rules._repairs import write

RULE = RuleInfo(
    code="VL206",
    name="positions-too-few",
    summary="the sequences are longer than the model has positions",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=Safety.UNSAFE,
    sources=(
        "https://huggingface.co/openai-community/gpt2/blob/main/config.json",
        "https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/training/arguments.py",
    ),
)

_TABLES = (
    (re.compile(r"(^|/)(distil)?gpt2(-(medium|large|xl))?$"), 1024),
    (re.compile(r"^facebook/opt-[\d.]+[mb]$"), 2048),
    (re.compile(r"^EleutherAI/gpt-neo-(125m|1\.3B|2\.7B)$", re.IGNORECASE), 2048),
    (re.compile(r"(^|/)(distil)?bert-(base|large)-(un)?cased$"), 512),
    (re.compile(r"^(FacebookAI/)?(distil)?roberta-(base|large)$"), 512),
    (re.compile(r"^bigcode/starcoder$"), 8192),
)
"""Models with a table of learned positions, by the names of their hubs."""
VALID = (
    Case("clm.yaml", trainer(model_name_or_path="openai-community/gpt2", block_size=1024)),
    Case("train.sh", megatron(**{"seq-length": 2048, "max-position-embeddings": 4096})),
)
INVALID = (
    Case(
        "clm.yaml",
        trainer(model_name_or_path="openai-community/gpt2", block_size=2048),
        fixed=trainer(model_name_or_path="openai-community/gpt2", block_size=1024),
        unsafe=True,
    ),
    Case(
        "train.sh",
        megatron(**{"seq-length": 4096, "max-position-embeddings": 2048}),
        fixed=megatron(**{"seq-length": 2048, "max-position-embeddings": 2048}),
        unsafe=True,
    ),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the sequence length with the table."""
    length, found = run.plan.seq_len, _positions(run)
    if found is None or not length.spelled or not length.value or length.value <= found:
        return
    name = run.spelling("seq_len")
    yield Verdict(
        "seq_len",
        f"{name} {length.value} is longer than the {found} positions the model has: the run stops",
        label=f"{found} positions",
        help=f"Use at most {found}, or a model with more positions",
        repairs=write(run, "seq_len", to=found, safety=Safety.UNSAFE),
    )


def _positions(run: Run) -> int | None:
    plan = run.plan
    positions = plan.fact("positions")
    if plan.dialect == "megatron":
        return int(positions.value) if positions.spelled and positions.value else None
    if plan.dialect not in ("hf_trainer", "trl", "llamafactory", "axolotl"):
        return None
    name = plan.model.value or ""
    return next((count for pattern, count in _TABLES if pattern.search(name)), None)
