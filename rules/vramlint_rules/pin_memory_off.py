"""Pinned memory is switched off for a run on a GPU.

Why: copies from pinned (page-locked) host memory to the card are faster and can overlap with computing. Switching it
off saves one batch of host memory a rank and nothing on the card.

Example: ``--pin_memory False`` with ``--num_workers 4``.

Fix safety: safe. The data are the same.

Sources: PyTorch documentation of ``torch.utils.data``, "Memory Pinning".
"""

from collections.abc import Iterator

from vramlint.rule import Case, Change, Confidence, Repair, RuleInfo, Run, Safety, Severity, Verdict

RULE = RuleInfo(
    code="VL306",
    name="pin-memory-off",
    summary="pinned host memory is switched off",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    fix=Safety.SAFE,
    sources=("https://pytorch.org/docs/stable/data.html#memory-pinning",),
    pedantic=True,
)

_LINE = (
    "torchrun --nproc_per_node=2 train.py --model hrnet --batch_size 2 --num_workers {} --pin_memory {} --epochs 5\n"
)
VALID = (
    Case("train.sh", _LINE.format(4, "True"), gpu="rtx3060-12gb"),
    Case("train.sh", _LINE.format(4, "False")),
)
INVALID = (
    Case("train.sh", _LINE.format(4, "False"), gpu="rtx3060-12gb", fixed=_LINE.format(4, "True")),
    Case("train.sh", _LINE.format(2, "False"), gpu="a100-40gb", fixed=_LINE.format(2, "True")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for a spelled False on a run with a GPU."""
    pinned = run.plan.pin_memory
    if run.target.gpu is None or pinned.value is not False or not pinned.spelled:
        return
    name = run.spelling("pin_memory")
    repairs: tuple[Repair, ...] = ()
    if run.editable("pin_memory"):
        on = Change("pin_memory", True)  # noqa: FBT003 (a value of the file, not an option)
        repairs = (Repair(f"switch on {name}", Safety.SAFE, (on,)),)
    yield Verdict(
        "pin_memory",
        f"{name} is off: copies to the card wait for pageable memory, and no GPU memory is saved",
        label="saves no GPU memory",
        help=f"Switch on {name}",
        repairs=repairs,
    )
