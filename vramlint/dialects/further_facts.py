"""The tables behind ``further``: which key spells which further fact, by framework, each group with source and version.

Keys are dotted where they nest; a flag is named without its dashes, with underscores. Rows of one fact are tried in
order. A default stands only where the framework's own source gives one that holds whenever the key is absent.
"""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.dialects.further_readers import (
    attention,
    number,
    whole,
)
from vramlint.dialects.further_row import Group, Row
from vramlint.dialects.values import as_flag

IMAGES = (
    "detectron2", "diffusers", "kohya", "lightning", "lightning_hydra", "mmcv", "mmengine", "timm", "ultralytics",
    "yolov5",
)  # fmt: skip
"""The dialects of ``further_images``; the others are looked up in ``further_language``."""
_COMMON = Group(
    "the program's own settings",
    (
        Row("drop_last", ("drop_last", "data.drop_last", "dataloader.drop_last", "dataset.drop_last"), as_flag),
        Row("attention", ("attn_implementation",), attention),
        Row("sync_batch_norm", ("sync_bn", "sync_batchnorm"), as_flag),
        Row("warmup_epochs", ("warmup_epochs", "trainer.warmup_epochs"), number),
        Row("warmup_steps", ("warmup_steps", "trainer.warmup_steps"), whole),
    ),
)

_OF_PROGRAMS = ("nested_yaml", "argparse_trainer", "python_config", "moco", "mae", "detr", "open_clip")
"""Dialects of programs that name their settings themselves."""


def groups_of(dialect: str) -> Iterator[Group]:
    """The dialect's own group, then those of the frameworks it extends."""
    if dialect in _OF_PROGRAMS:
        yield _COMMON
        return
    if dialect in IMAGES:
        from vramlint.dialects.further_images import FACTS
    else:
        from vramlint.dialects.further_language import FACTS
    group = FACTS.get(dialect)
    if group is None:
        return
    yield group
    for name in group.extends:
        yield from groups_of(name)
