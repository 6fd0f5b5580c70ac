"""What a run is checked against: a comment in its files, the command line, the settings, the job's own request.

Each part (GPU, count, nodes, host) is decided on its own by the first of these that says anything about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Table
from functools import lru_cache
from typing import NamedTuple

from vramlint.engine.options import CheckOptions
from vramlint.errors import TargetError
from vramlint.hardware import catalogue
from vramlint.hardware.model import Gpu, Host, Target
from vramlint.patterns import later
from vramlint.project.setting_values import size_bytes
from vramlint.project.settings import Settings, TargetTable
from vramlint.sources.model import Comment, Document, Mapping, Scalar, Sequence

_COMMENT = later(r"vramlint:\s*(?=\w+\s*=)(?P<words>.*)")
_WORD = later(r"(\w+)\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s,]+)")
IN_THE_FILES = ("comment in the file", "job file")
"""What ``Target.source`` is where the run's own files name the card."""
_KEYS = ("gpu", "gpus", "nodes", "cores", "ram", "shm", "disk")


@lru_cache(maxsize=64)
def find_gpu(name: str) -> Gpu:
    """The card of that name, looked up once for all the runs that are checked against it. Raises TargetError."""
    return catalogue.find_gpu(name)


class _Voice(NamedTuple):
    """One source of the target: what it says, and how to name it."""

    source: str
    table: TargetTable


def targets(documents: Iterable[Document], path: str, settings: Settings, options: CheckOptions) -> tuple[Target, ...]:
    """The targets of a run read from ``documents``, first document first; several where ``--gpu`` was repeated.

    ``path`` is the absolute path that the settings' patterns are matched against. Raises TargetError, with the place,
    for a GPU name that is unknown or ambiguous or a comment that cannot be read.
    """
    documents = tuple(documents)
    comments = [voice for document in documents for voice in _comment_voices(document)]
    line = _Voice("command line", TargetTable("", None, options.gpus, options.nodes, options.host))
    tables = [_Voice(settings.path or "settings", table) for table in settings.targets_for(path)]
    requests = [voice for document in documents for voice in _job_voices(document)]
    voices = [*comments, line, *tables, *requests]
    hosts = [voice.table.host for voice in voices if voice.table.host is not None]
    gpu_names = _gpu_names(comments, options, [*tables, *requests])
    base = Target(
        None,
        _first(voice.table.gpus for voice in voices),
        _first(voice.table.nodes for voice in voices),
        Host(
            _first(host.cores for host in hosts),
            _first(host.ram_bytes for host in hosts),
            _first(host.shm_bytes for host in hosts),
            _first(host.disk_bytes for host in hosts),
        ),
    )
    if not gpu_names:
        return (base,)
    return tuple(base._replace(gpu=gpu, source=source) for gpu, source in gpu_names)


def _first(values: Iterable[int | None]) -> int | None:
    return next((value for value in values if value is not None), None)


def _gpu_names(comments: list[_Voice], options: CheckOptions, rest: list[_Voice]) -> tuple[tuple[Gpu, str], ...]:
    spoken = next((voice for voice in comments if voice.table.gpu), None)
    if spoken is not None:
        return ((find_gpu(spoken.table.gpu or ""), spoken.source),)
    if options.gpu:
        return tuple((find_gpu(name), "--gpu") for name in dict.fromkeys(options.gpu))
    spoken = next((voice for voice in rest if voice.table.gpu), None)
    if spoken is None:
        return ()
    try:
        return ((find_gpu(spoken.table.gpu or ""), spoken.source),)
    except TargetError as error:
        raise TargetError(error.message, path=spoken.source, help=error.help) from error


def _comment_voices(document: Document) -> Iterator[_Voice]:
    for comment in document.comments if "vramlint" in document.text else ():
        match = _COMMENT.search(comment.text)
        if match is not None:
            yield _Voice(IN_THE_FILES[0], _comment_table(document, comment, match["words"]))


def _comment_table(document: Document, comment: Comment, words: str) -> TargetTable:
    line = document.position(comment.span.start).line
    values: dict[str, str] = {}
    for key, value in _WORD.findall(words):
        if key not in _KEYS:
            known = " ".join(f"{name}=…" for name in _KEYS)
            raise TargetError(f"unknown target {key!r}", path=document.path, line=line, help=f"Known: {known}.")
        values[key] = value.strip("\"'")
    try:
        gpu = values.get("gpu")
        if gpu is not None:
            find_gpu(gpu)
        counts = {key: _count(values[key]) for key in ("gpus", "nodes", "cores") if key in values}
        sizes = {key: size_bytes(values[key]) for key in ("ram", "shm", "disk") if key in values}
    except (TargetError, ValueError) as error:
        message, help = (error.message, error.help) if isinstance(error, TargetError) else (str(error), "")
        raise TargetError(message, path=document.path, line=line, help=help) from error
    host = Host(counts.get("cores"), sizes.get("ram"), sizes.get("shm"), sizes.get("disk"))
    return TargetTable("", gpu, counts.get("gpus"), counts.get("nodes"), host)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _job_voices(document: Document) -> Iterator[_Voice]:
    """What ``#SBATCH`` lines ask for."""
    if document.batch_directives is not None:
        yield _Voice(IN_THE_FILES[1], job_request(document.batch_directives))


def job_request(options: Mapping) -> TargetTable:
    """What options of ``sbatch`` ask for. A GPU type that Slurm's admin named in his own way is left unknown."""
    words = {entry.key.lstrip("-"): entry.value for entry in options.entries}
    gpu, gpus = None, None
    for key in ("gpus-per-node", "gres", "gpus", "G"):
        request = _text(words.get(key))
        match = re.search(r"(?:^|gpu:)(?:gpu:)?(?:([A-Za-z][\w.-]*):)?(\d+)\b", request)
        if match is not None and (key != "gres" or "gpu" in request):
            gpu, gpus = match[1], int(match[2])
            break
    nodes = _text(words.get("nodes") or words.get("N")).partition("-")[0]
    count = int(nodes) if nodes.isdigit() and int(nodes) > 0 else None
    if gpus and key in ("gpus", "G") and count and count > 1:
        gpus = gpus // count if gpus % count == 0 else None  # --gpus counts the whole job
    cores = _text(words.get("cpus-per-task") or words.get("c"))
    return TargetTable("", _known(gpu), gpus or None, count, Host(_job_cores(cores, words)))


def _job_cores(cores: str, words: Table[str, object]) -> int | None:
    """Cores on a node, where the job runs one task on each."""
    tasks = _text(words.get("ntasks-per-node") or words.get("ntasks") or words.get("n"))
    return int(cores) * int(tasks or 1) if cores.isdigit() and (not tasks or tasks.isdigit()) else None


def _known(gpu: str | None) -> str | None:
    try:
        return find_gpu(gpu).name if gpu else None
    except TargetError:
        return None


def _text(node: object) -> str:
    """The value of an option; where the reader took further words for values of it too, the first."""
    if isinstance(node, Sequence) and node.items:
        node = node.items[0]
    return str(node.value) if isinstance(node, Scalar) else ""
