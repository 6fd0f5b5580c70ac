"""The last rows of the table: programs that follow no framework's convention, recognised by common spellings."""

from __future__ import annotations

from vramlint.dialects.rows import NOT_A_TRAINER, Row, a_class, line, row
from vramlint.dialects.signature import Tree
from vramlint.dialects.spellings import BATCH_NAMES, NOT_TRAINING, SPELLINGS, TRAINING_GROUPS

_TRAINING_FACTS = (
    "accumulation",
    "workers_per_rank",
    "epochs",
    "max_steps",
    "learning_rate",
    "optimizer",
    "precision",
    "image_size",
    "queue_size",
    "prefetch_factor",
    "grad_checkpointing",
)
_BATCHES = " ".join(SPELLINGS["micro_batch"])
_OTHERS = " ".join(name for fact in _TRAINING_FACTS for name in SPELLINGS[fact])

GENERIC: tuple[Row, ...] = (
    row(
        "argparse_trainer",
        "a training script with flags of its own",
        line(
            r"(\.py$|^[\w.]*\btrain[\w.]*$|^[\w]+(\.[\w]+)+$)",
            any_of=f"{_BATCHES} b",
            also=_OTHERS,
            not_program=NOT_A_TRAINER,
        ),
        module="argparse_trainer",
        generic=True,
    ),
    row(
        "python_config",
        "a Python config class",
        a_class(
            r"(?i)(config|cfg|conf|args|arguments|settings|hparams|params|options|hyper)", any_of=_BATCHES, also=_OTHERS
        ),
        a_class(
            r"(?i)(config|cfg)",
            any_of=" ".join([_BATCHES, *SPELLINGS["queue_size"], *SPELLINGS["accumulation"]]),
            bases=r"(?i)(config|cfg)$",
        ),
        module="python_config",
        generic=True,
    ),
    row(
        "nested_yaml",
        "a training program's own YAML or TOML",
        Tree(BATCH_NAMES, TRAINING_GROUPS, 2, NOT_TRAINING),
        module="nested_yaml",
        generic=True,
    ),
)
"""The last resort: a batch and something else that only training has."""
