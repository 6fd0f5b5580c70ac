"""How many samples one optimizer step sees.

Why: learning rate, warm-up and weight decay belong to the effective batch, and it is nowhere written down: it is the
product of the micro batch, the data-parallel ranks and the accumulation steps, each from another file.

Example: ``batch_size: 2`` on 2 GPUs with ``gradient_accumulation_steps: 4`` is an effective batch of 16.

Fix safety: nothing to fix. Shown with ``--pedantic``.

Sources: Hugging Face ``transformers`` 5.23.0, ``trainer.py`` (``total_train_batch_size``); the frameworks' table in
``docs/batch.md``.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict

RULE = RuleInfo(
    code="VL101",
    name="effective-batch",
    summary="reports the effective batch with its arithmetic",
    severity=Severity.INFO,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://huggingface.co/docs/transformers/main_classes/trainer",),
    pedantic=True,
)

_HF = """\
model_name_or_path: acme/private-net
output_dir: out
per_device_train_batch_size: 4
gradient_accumulation_steps: 8
num_train_epochs: 1
"""
VALID = (
    Case("sft.yaml", _HF.replace("per_device_train_batch_size: 4", "per_device_train_batch_size: ${oc.env:BATCH}")),
    Case("values.yaml", "replicas: 4\nimage: web\n"),
)
INVALID = (
    Case("sft.yaml", _HF, gpus=1),
    Case("sft.yaml", _HF, gpus=2),
)


def check(run: Run) -> Iterator[Verdict]:
    """Report the product."""
    effective = run.plan.effective_batch
    if effective.value is None:
        return
    yield Verdict(
        "micro_batch",
        f"effective batch {effective.value} = {effective.note}",
        label=f"effective batch {effective.value}",
    )
