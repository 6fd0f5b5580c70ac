"""Readings of spelled values that all frameworks share: counts, switches, image sizes, precisions.

Each function takes what a loader or a shell gives and returns the meant value, or raises ValueError saying why not.
"""

from __future__ import annotations

import re

from vramlint.patterns import later
from vramlint.plan import ImageSize, Precision

TRUE_WORDS = frozenset({"true", "yes", "on", "1", "y", "t"})
FALSE_WORDS = frozenset({"false", "no", "off", "0", "n", "f"})

_PRECISIONS = {
    Precision.FP32: ("no", "none", "fp32", "float32", "float", "32", "32-true", "full", "off", "false", "tf32"),
    Precision.FP16: ("fp16", "float16", "16", "16-mixed", "half", "amp", "amp_fp16", "true", "on", "yes"),
    Precision.BF16: ("bf16", "bfloat16", "bf16-mixed", "amp_bf16"),
    Precision.FP8: ("fp8", "amp_fp8", "transformer-engine"),
    Precision.PURE_FP16: ("16-true", "pure_fp16"),
    Precision.PURE_BF16: ("bf16-true", "pure_bf16"),
}
_PRECISION_WORDS = {word: precision for precision, words in _PRECISIONS.items() for word in words}

_SIZE = later(r"^\s*[\[(]?\s*(\d+)\s*(?:[,x*\s]\s*(\d+)\s*)?[\])]?\s*$")


def as_count(value: object) -> object:
    """An integer, also when a shell hands it over as text. A whole float counts; a switch does not."""
    if isinstance(value, bool):
        raise ValueError("a switch where a number belongs")
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d[\d_]*", value.strip()):
        return int(value.strip().replace("_", ""))
    return value


def as_flag(value: object) -> bool:
    """A switch: booleans, 0 and 1, and the words people write."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ValueError("neither true nor false")


def as_text(value: object) -> str:
    """A name or a path."""
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError("not a text")


def as_size(value: object) -> ImageSize:
    """An image size: ``640``, ``[height, width]``, ``1024 1024``, ``"512,512"``; three numbers are channels first."""
    if isinstance(value, (list, tuple)):
        numbers = [as_count(item) for item in value]
        if len(numbers) == 3 and numbers[0] in (1, 3, 4):
            numbers = numbers[1:]
        if len(numbers) in (1, 2) and all(isinstance(number, int) and number > 0 for number in numbers):
            height, width = numbers[0], numbers[-1]
            assert isinstance(height, int)
            assert isinstance(width, int)
            return ImageSize(height, width)
        raise ValueError("not one size or a height and a width")
    found = _SIZE.match(str(value)) if not isinstance(value, bool) else None
    if found is None or int(found[1]) == 0:
        raise ValueError("not an image size")
    return ImageSize(int(found[1]), int(found[2] or found[1]))


def as_precision(value: object) -> Precision:
    """The precision a word means; True means fp16 autocast, what ``torch.autocast("cuda")`` defaults to."""
    word = str(value).strip().lower()
    if word in _PRECISION_WORDS:
        return _PRECISION_WORDS[word]
    raise ValueError("not a known precision")
