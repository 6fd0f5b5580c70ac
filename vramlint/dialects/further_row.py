"""One further fact of one framework: what ``further_language`` and ``further_images`` are lists of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from vramlint.dialects.further_readers import elements
from vramlint.dialects.values import as_flag


class Row(NamedTuple):
    """One fact: the keys that may spell it, how the value is read (None: it says nothing), the framework's default."""

    fact: str
    keys: tuple[str, ...]
    read: Callable[[Any], Any]
    default: Any = None


class Group(NamedTuple):
    """The rows of one framework, the version whose source they were read in, and the ``files`` there that have them."""

    source: str
    rows: tuple[Row, ...]
    extends: tuple[str, ...] = ()
    files: str = ""


def zero_rows(section: str) -> tuple[Row, ...]:
    """DeepSpeed's communication buffers (0.19.8 ``runtime/zero/config.py``)."""
    return (
        Row("reduce_bucket", (f"{section}.reduce_bucket_size",), elements),
        Row("overlap_comm", (f"{section}.overlap_comm",), as_flag),
        Row("contiguous_gradients", (f"{section}.contiguous_gradients",), as_flag),
        Row("max_reuse_distance", (f"{section}.stage3_max_reuse_distance",), elements),
    )
