"""More loader workers than the machine has cores.

Why: every rank starts its own workers, so a node runs ranks x workers of them. Beyond the cores they take time from
each other and from the training processes. PyTorch warns about one loader only, never about the sum over ranks.

Example: ``num_workers: 8`` on 4 GPUs of a 16-core machine is 32 workers.

Fix safety: safe. The number of workers is no part of the training arithmetic.

Sources: PyTorch 2.13, ``torch/utils/data/dataloader.py``, ``check_worker_number_rationality``; Lightning
``trainer/connectors/data_connector.py`` (``suggested_max_num_workers`` divides the cores by the local ranks).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Change, Confidence, Repair, RuleInfo, Run, Safety, Severity, Verdict
from vramlint_rules._loader import ranks_per_node

RULE = RuleInfo(
    code="VL303",
    name="workers-over-cores",
    summary="the loaders of a node start more workers than it has cores",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=Safety.SAFE,
    sources=("https://github.com/pytorch/pytorch/blob/main/torch/utils/data/dataloader.py",),
)

_LINE = "torchrun --nproc_per_node={ranks} train.py --model hrnet --batch_size 2 --num_workers {workers} --epochs 5\n"
VALID = (
    Case("train.sh", _LINE.format(ranks=2, workers=4), cores=8),
    Case("train.sh", _LINE.format(ranks=8, workers=16)),
)
INVALID = (
    Case("train.sh", _LINE.format(ranks=2, workers=8), cores=8, fixed=_LINE.format(ranks=2, workers=4)),
    Case("train.sh", _LINE.format(ranks=4, workers=8), cores=16, fixed=_LINE.format(ranks=4, workers=4)),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the node's workers with its cores."""
    cores, workers, ranks = run.target.host.cores, run.plan.workers_per_rank.value, ranks_per_node(run)
    if cores is None or not workers or ranks is None or workers * ranks <= cores:
        return
    name, fitting = run.spelling("workers_per_rank"), max(cores // ranks, 1)
    repairs: tuple[Repair, ...] = ()
    if run.editable("workers_per_rank") and fitting < workers:
        change = Change("workers_per_rank", fitting)
        repairs = (Repair(f"set {name} to {fitting}", Safety.SAFE, (change,)),)
    yield Verdict(
        "workers_per_rank",
        f"{name} {workers} x {ranks} ranks = {workers * ranks} workers on {cores} cores: they wait for each other",
        label=f"{workers * ranks} workers, {cores} cores",
        help=f"Set {name} to at most {fitting}",
        repairs=repairs,
    )
