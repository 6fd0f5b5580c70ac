"""``persistent_workers`` without worker processes.

Why: there is nothing to keep alive. PyTorch's ``DataLoader`` raises ValueError at construction, before the first
step.

Example: ``persistent_workers: true`` beside ``num_workers: 0``.

Fix safety: safe. Switching it off leaves the loader as it would have run.

Sources: PyTorch 2.13, ``torch/utils/data/dataloader.py``, ``DataLoader.__init__``: "persistent_workers option needs
num_workers > 0".
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._loader import refused_without_workers

RULE = RuleInfo(
    code="VL302",
    name="persistent-without-workers",
    summary="persistent_workers is set but no worker process runs",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=Safety.SAFE,
    sources=("https://pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader",),
)

_HF = """\
model_name_or_path: acme/private-net
output_dir: out
per_device_train_batch_size: 4
dataloader_num_workers: {workers}
dataloader_persistent_workers: {persistent}
num_train_epochs: 1
"""
VALID = (
    Case("sft.yaml", _HF.format(workers=4, persistent="true")),
    Case("sft.yaml", _HF.format(workers=0, persistent="false")),
)
INVALID = (
    Case("sft.yaml", _HF.format(workers=0, persistent="true"), fixed=_HF.format(workers=0, persistent="false")),
    Case("sft.yaml", _HF.format(workers=0, persistent="True"), fixed=_HF.format(workers=0, persistent="False")),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for the pair that DataLoader refuses."""
    if run.plan.persistent_workers.value is True:
        yield from refused_without_workers(run, "persistent_workers", to=False)
