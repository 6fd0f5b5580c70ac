"""The dataset holds fewer samples than one optimizer step takes.

Why: the loader never fills the effective batch. With ``drop_last`` there is no step at all; without it every epoch is
one short step, and the learning rate was meant for a batch that never comes.

Example: ``max_samples: 100`` with an effective batch of 256.

Fix safety: none. Whether the data or the batch is wrong only the author knows.

Sources: PyTorch 2.13 ``torch/utils/data/dataloader.py`` (``drop_last``, length of the sampler); LLaMA-Factory 0.9.6
``hparams/data_args.py`` (``max_samples`` truncates each dataset).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint_rules._cases import trainer

RULE = RuleInfo(
    code="VL107",
    name="dataset-smaller-than-batch",
    summary="the dataset holds fewer samples than one optimizer step takes",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://pytorch.org/docs/stable/data.html#loading-batched-and-non-batched-data",),
)

_TUNE = """\
model:
  _component_: torchtune.models.llama3_2.llama3_2_1b
tokenizer:
  _component_: torchtune.models.llama3.llama3_tokenizer
  max_seq_len: 512
dataset:
  _component_: torchtune.datasets.alpaca_dataset
  split: train[:{}]
batch_size: 4
gradient_accumulation_steps: 8
optimizer:
  _component_: torch.optim.AdamW
dtype: bf16
epochs: 1
"""
VALID = (
    Case("sft.yaml", trainer(max_train_samples=5000), gpus=2),
    Case("full.yaml", _TUNE.format(320), gpus=2),
)
INVALID = (
    Case("sft.yaml", trainer(max_train_samples=12), gpus=2),
    Case("full.yaml", _TUNE.format(32), gpus=2),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the known number of samples with the effective batch."""
    samples, effective = run.plan.fact("max_samples"), run.plan.effective_batch.value
    if not samples.value or not effective or samples.value >= effective or run.plan.fact("packing").value:
        return
    if run.plan.dialect == "llamafactory" and run.setting("do_train").value is not True:
        return  # a file for prediction
    steps = "no step at all" if run.plan.fact("drop_last").value else "one short step an epoch"
    yield Verdict(
        "max_samples",
        f"{samples.value} samples, but one optimizer step takes {effective}: {steps}",
        label=f"effective batch {effective}",
        help="Use more samples, or a smaller effective batch",
    )
