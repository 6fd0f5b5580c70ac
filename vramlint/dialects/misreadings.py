"""Scalars that a framework's loader makes something else of than they look, and what the framework then does.

Only what would really fail or change the run stands here. Each row was held against the loader and the framework
(``tests/dialects/test_misreadings.py``):

- Ultralytics 8.4.190: ``utils/__init__.py#YAML`` is PyYAML, ``cfg/__init__.py#check_cfg`` raises TypeError at a text.
- ESPnet 202511: ``utils/config_argparse.py`` is PyYAML; ``optim_conf`` is handed to torch, whose optimizers compare it.
- detectron2 02b5c4e2 and maskrcnn-benchmark: yacs 0.1.8 evaluates texts as Python and refuses another type than the
  default's (``config.py#_check_and_coerce_cfg_value_type``).
- SpeechBrain 1.1.2: HyperPyYAML is YAML 1.2, where ``no`` is a text; ``core.py`` takes run options from the file as
  they are, and torch's DataLoader takes ``shuffle="no"`` for true.
- torchtune 0.6.1: OmegaConf has ``null``, and ``None`` is a text: ``float("None")`` fails at the first clipping.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vramlint.sources.model import Plain, Scalar, Style
from vramlint.sources.scalars import Loader, read_node_as

_EXPONENT = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)[eE][+-]?\d+")
_OCTAL = re.compile(r"[+-]?0[0-7_]+")
_SEXAGESIMAL = re.compile(r"[+-]?\d[\d_]*(:[0-5]?\d)+(\.\d*)?")
_SWITCH = re.compile(r"yes|no|on|off|y|n", re.IGNORECASE)


class Misreading(NamedTuple):
    """What a scalar becomes, and what to write instead."""

    message: str
    help: str


class Row(NamedTuple):
    """Keys of one kind in one dialect's YAML: ``number``, ``whole`` (yacs: no float), ``share`` (no int), ``switch``.

    ``then`` is what the framework does with a value of the wrong type.
    """

    loader: Loader
    kind: str
    keys: tuple[str, ...]
    then: str


_YACS_STOPS = "yacs wants the type of the default and stops"
ROWS: dict[str, tuple[Row, ...]] = {
    "ultralytics": (
        Row(
            Loader.PYYAML,
            "number",
            (
                "lr0", "lrf", "momentum", "weight_decay", "warmup_epochs", "warmup_momentum", "warmup_bias_lr", "box",
                "cls", "dfl", "hsv_h", "hsv_s", "hsv_v", "mosaic", "mixup", "copy_paste", "dropout", "epochs",
                "patience", "workers", "seed", "close_mosaic", "nbs", "save_period", "time",
            ),
            "Ultralytics stops",
        ),
    ),
    "espnet": (
        Row(
            Loader.PYYAML,
            "number",
            ("optim_conf.lr", "optim_conf.weight_decay", "optim_conf.eps", "optim2_conf.lr"),
            "the optimizer stops",
        ),
    ),
    "detectron2": (
        Row(
            Loader.YACS,
            "whole",
            ("SOLVER.IMS_PER_BATCH", "SOLVER.MAX_ITER", "SOLVER.CHECKPOINT_PERIOD", "DATALOADER.NUM_WORKERS"),
            _YACS_STOPS,
        ),
        Row(
            Loader.YACS,
            "share",
            ("SOLVER.BASE_LR", "SOLVER.GAMMA", "SOLVER.WEIGHT_DECAY", "SOLVER.MOMENTUM", "SOLVER.WARMUP_FACTOR"),
            _YACS_STOPS,
        ),
    ),
    "speechbrain": (
        Row(
            Loader.HYPERPYYAML,
            "switch",
            (
                "auto_mix_prec", "find_unused_parameters", "noprogressbar", "compile", "jit",
                "train_dataloader_opts.shuffle", "train_dataloader_opts.drop_last", "dataloader_options.shuffle",
            ),
            "it counts as true",
        ),
    ),
    "torchtune": (Row(Loader.OMEGACONF, "number", ("clip_grad_norm", "max_steps_per_epoch"), "the recipe stops"),),
}  # fmt: skip
"""The rows of each dialect that has any."""


def misread(node: Scalar, row: Row) -> Misreading | None:
    """What ``row``'s loader makes of a scalar that looks otherwise; None where it reads what is meant."""
    source = node.definition or node
    if source.style is not Style.PLAIN or source.tag is not None:
        return None
    value = read_node_as(node, row.loader)
    if row.kind == "switch":
        return _switch(source.text, value, row)
    found = _number(source.text, value, row)
    return _of_yacs(source.text, value, row) if found is None and row.loader is Loader.YACS else found


def _switch(text: str, value: Plain, row: Row) -> Misreading | None:
    if not isinstance(value, str) or not _SWITCH.fullmatch(text):
        return None
    meant = "true" if text.lower() in ("yes", "on", "y") else "false"
    return Misreading(f"{text} is a text for this loader (YAML 1.2): {row.then}", f"Write {meant}.")


def _number(text: str, value: Plain, row: Row) -> Misreading | None:
    if isinstance(value, str) and _EXPONENT.fullmatch(text):
        return Misreading(f"{text} is a text for this loader: {row.then}", f"Write {_with_dot(text)}.")
    if value == "None":
        return Misreading(f"None is a text for this loader: {row.then}", "Write null.")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if _OCTAL.fullmatch(text) and isinstance(value, int) and value != int(text):
        return Misreading(f"{text} is octal for this loader: {value}", f"Write {int(text)}.")
    if _SEXAGESIMAL.fullmatch(text):
        return Misreading(f"{text} is sexagesimal for this loader: {value}", "Write one plain number.")
    return None


def _of_yacs(text: str, value: Plain, row: Row) -> Misreading | None:
    if isinstance(value, list):  # a tuple, as this project keeps it
        return Misreading(f"{text} is a tuple for this loader: {row.then}", "Write the number without a comma.")
    if row.kind == "whole" and isinstance(value, float):
        spelled = f"Write {int(value)}." if value.is_integer() else "Write a whole number."
        return Misreading(f"{text} is no whole number for this loader: {row.then}", spelled)
    if row.kind == "share" and isinstance(value, int) and not isinstance(value, bool):
        return Misreading(f"{text} is a whole number for this loader: {row.then}", f"Write {value}.0.")
    return None


def _with_dot(text: str) -> str:
    """``1e-4`` as YAML 1.1 wants it: ``1.0e-4``, with a sign in the exponent."""
    digits, _, exponent = text.lower().partition("e")
    digits = digits if "." in digits else f"{digits}.0"
    return f"{digits}e{exponent if exponent[0] in '+-' else f'+{exponent}'}"
