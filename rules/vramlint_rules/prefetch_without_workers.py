"""``prefetch_factor`` without worker processes.

Why: only worker processes prefetch. PyTorch's ``DataLoader`` raises ValueError at construction, before the first
step, when ``prefetch_factor`` is given and ``num_workers`` is 0.

Example: ``num_workers: 0`` beside ``prefetch_factor: 4``.

Fix safety: safe. Removing the setting leaves the loader as it would have run.

Sources: PyTorch 2.13, ``torch/utils/data/dataloader.py``, ``DataLoader.__init__``: "prefetch_factor option could only
be specified in multiprocessing"; transformers 5.23.0, ``training_args.py`` refuses the pair likewise. PyTorch before
2.0 accepted the value 2.
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._loader import refused_without_workers

RULE = RuleInfo(
    code="VL301",
    name="prefetch-without-workers",
    summary="prefetch_factor is set but no worker process runs",
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
{prefetch}num_train_epochs: 1
"""
VALID = (
    Case("sft.yaml", _HF.format(workers=4, prefetch="dataloader_prefetch_factor: 4\n")),
    Case("sft.yaml", _HF.format(workers=0, prefetch="")),
)
INVALID = (
    Case(
        "sft.yaml",
        _HF.format(workers=0, prefetch="dataloader_prefetch_factor: 4\n"),
        fixed=_HF.format(workers=0, prefetch=""),
    ),
    Case(
        "sft.yaml",
        _HF.format(workers="0  # debugging", prefetch="dataloader_prefetch_factor: 2\n"),
        fixed=_HF.format(workers="0  # debugging", prefetch=""),
    ),
)


def check(run: Run) -> Iterator[Verdict]:
    """Look for the pair that DataLoader refuses."""
    prefetch = run.plan.prefetch_factor
    if prefetch.spelled and prefetch.value is not None:
        yield from refused_without_workers(run, "prefetch_factor", to=None)
