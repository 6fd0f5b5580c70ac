"""What the user may say of a trace beyond the model's name. Free of torch: the command line makes it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, NamedTuple

from vramlint.errors import TraceError

UPDATES = ("foreach", "fused", "for-loop")
"""Ways torch runs an optimizer's update; on CUDA ``foreach`` is what it takes unless told otherwise."""

PARALLEL = ("ddp", "ddp-views", "fsdp2")
"""DistributedDataParallel with buckets beside the gradients, with gradients as views of them, and ``fully_shard``."""


class Choices(NamedTuple):
    """How to trace a target. What is left out stays as the target has it.

    ``points`` are (batch, height, width) or (batch, length). ``checkpoint``, ``lora_targets`` and ``shard`` are
    patterns of module names (``blocks.*``). The others describe a whole step: ``optimizer`` is a name of torch.optim
    or bitsandbytes, or ``module:callable``; ``accumulate`` micro steps; ``parallel`` over ``ranks`` processes.
    """

    points: tuple[tuple[int, ...], ...] = ()
    channels_last: bool = False
    checkpoint: tuple[str, ...] = ()
    lora_rank: int = 0
    lora_targets: tuple[str, ...] = ()
    optimizer: str = ""
    optimizer_options: tuple[tuple[str, Any], ...] = ()
    update: str = ""
    scaler: bool = False
    ema: bool = False
    accumulate: int = 1
    parallel: str = ""
    ranks: int = 2
    shard: tuple[str, ...] = ()

    @property
    def whole_step(self) -> bool:
        """Whether anything was said that a profile does not hold, so that one whole step is traced as well."""
        return bool(self.optimizer or self.scaler or self.ema or self.accumulate > 1 or self.parallel)

    def words(self) -> tuple[str, ...]:
        """What was chosen of the model, for a profile's assumptions."""
        found = []
        if self.channels_last:
            found.append("channels_last")
        if self.checkpoint:
            found.append(f"checkpointing recomputes the modules {', '.join(self.checkpoint)}")
        if self.lora_rank:
            targets = ", ".join(self.lora_targets) or "all linear layers"
            found.append(f"LoRA of rank {self.lora_rank} on {targets}, base weights as they are")
        return tuple(found)


def from_json(data: dict[str, Any]) -> Choices:
    """The choices that went through JSON, which has no tuples."""
    return Choices(**{name: _tuples(value) for name, value in data.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def parse_point(text: str) -> tuple[int, ...]:
    """``4x512x512`` or ``4x2048``: batch and size. Raises TraceError for any other form."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) not in (2, 3) or not all(part.isdecimal() and int(part) for part in parts):
        raise TraceError(f"{text!r} is no batch and size", help="Write 4x512x640 for images, 4x2048 for tokens.")
    return tuple(int(part) for part in parts)


def parse_options(texts: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    """``momentum=0.9`` and its like, values as Python writes them. Raises TraceError for any other form."""
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            if not equals or not name.isidentifier():
                raise ValueError
            found.append((name, ast.literal_eval(value)))
        except (ValueError, SyntaxError) as error:
            raise TraceError(f"{text!r} is no option", help="Write momentum=0.9 or betas=(0.9,0.95).") from error
    return tuple(found)
