"""The first look at a file: a byte search, in a module of its own so that most files cost no other import.

Most files of a repository are no configs, so what dismisses them is kept fast: words are looked for with ``in`` (ten
times as fast as an expression of alternatives), and an expression runs only where one of its words is there. All of it
is written for lower case.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from vramlint.patterns import later


def prefilter(path: str, data: bytes) -> bool:
    """Whether ``data`` can be a training config at all: a byte search, so that most files are never parsed."""
    _, suffix = os.path.splitext(path)
    look = _LOOKS.get(suffix.lower())
    if look is None and not suffix and data.startswith(b"#!") and b"sh" in data[:40]:
        look = shell_prefilter
    return look is not None and look(data.lower())


_BATCH_WORDS = (
    b"batch samples_per accum base_model distributed_type zero_optimization _component_ finetuning_type _base_ "
    b"trainjob pytorchjob train_split max_num_tokens max_num_elements max_tokens per_device model_args training_method "
    b"pipe-parallel-size pipe_parallel_size tuner_type train_type network_module dataset_config "
    b"__include__"
).split()
_BATCH_KEY = later(rb"(?:^|[\s\"'])bs[\"']?\s*:")
_TRAINER_GROUP = (b"- trainer:", b"override /trainer:")


def _data(data: bytes) -> bool:
    return (
        _has(data, _BATCH_WORDS)
        or _has(data, _TRAINER_GROUP)
        or (b"bs" in data and _BATCH_KEY.search(data) is not None)
    )


_FLAG_WORDS = b"batch accum per_device rfdetr trainer. trainer= experiment= config_file dataset_config".split()
_FLAGS = later(rb"--bs\b|\s-b\s|\byolo\b|\bswift\s+(?:sft|pt|rlhf)\b")
_LAUNCHER_WORDS = b"python torchrun accelerate deepspeed yolo srun mpirun train rfdetr".split()
_LAUNCHERS = later(rb"\btrl\b|\btune\b|\bswift\b")


def shell_prefilter(data: bytes) -> bool:
    """Whether lower-case shell text can launch a training run."""
    flagged = _has(data, _FLAG_WORDS) or _FLAGS.search(data) is not None
    return flagged and (_has(data, _LAUNCHER_WORDS) or _LAUNCHERS.search(data) is not None)


_CALLS = (
    b"read_base(",
    b"samples_per_gpu",
    b"videos_per_gpu",
    b"trainingarguments(",
    b"trainingconfig(",
    b".train(",
    b"sftarguments(",
    b"rlhfarguments(",
    b"trainarguments(",
)
_TRL_CONFIG = later(rb"\b(?:sft|dpo|grpo|kto|rloo|reward|orpo|cpo|bco|gkd)config\(")
_LINE_WORDS = (b"batch", b"accum", b"dataloader", b"_base_", b"queue_", b"\tbs", b" bs")
_LINES = later(
    rb"\n(?:_base_\s*=|(?:train_)?dataloader\b|from [\w.]+ import .*\bdataloader\b|gradient_accumulation_steps[ \t]*="
    rb"|[ \t]+dataloader,"
    rb"|[ \t]+(?:[a-z_]*batch_?size[a-z_]*|batch|bs|queue_(?:size|len|length)|[a-z_]*accum[a-z_]*)\s*[:=])"
)
"""Lines of Python; ``\\n`` instead of ``^`` lets the search skip from line to line."""


def _python(data: bytes) -> bool:
    if _has(data, _CALLS) or (b"config(" in data and _TRL_CONFIG.search(data)):
        return True
    if b".fit(" in data and b"batch_size" in data and (b"keras" in data or b"tensorflow" in data):
        return True
    if b"trainer(" in data and b"lightning" in data:
        return True
    return _has(data, _LINE_WORDS) and _LINES.search(b"\n" + data) is not None


def _has(data: bytes, words: Iterable[bytes]) -> bool:
    return any(word in data for word in words)


_LOOKS: dict[str, Callable[[bytes], bool]] = {
    **dict.fromkeys((".yaml", ".yml", ".json", ".jsonc", ".toml"), _data),
    **dict.fromkeys((".sh", ".bash", ".zsh", ".slurm", ".sbatch", ".bat", ".job"), shell_prefilter),
    ".py": _python,
}
