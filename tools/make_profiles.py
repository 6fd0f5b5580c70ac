"""Makes the shipped profiles: ``python tools/make_profiles.py FAMILY [--variants amp fp32] [NAME…]``.

Needs torch and the family's packages beside vramlint (see ``docs/trace.md``). Each finished model is a line of the
journal (``--journal``), so that a run that was stopped goes on where it was; ``--pack`` merges the journal into the
shipped file. Deterministic: the same versions and date give the same bytes, whatever the order of the work.

Licences: a profile holds measured facts (sizes) only. Ultralytics (AGPL-3.0) is imported from its own installation and
nothing of it is stored.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

JOURNAL = Path(".vramlint/catalogue")

CPU_SECONDS = 240
"""Time of the processor after which a model is given up."""

VARIANTS = ("amp", "fp32", "amp+checkpointing", "fp32+checkpointing")


class OutOfTimeError(Exception):
    """A model took longer than ``CPU_SECONDS``."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family")
    parser.add_argument("names", nargs="*", help="models of the family; all that are not yet in the journal by default")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--date", default=datetime.datetime.now(tz=datetime.UTC).date().isoformat())
    parser.add_argument("--journal", type=Path, default=JOURNAL)
    parser.add_argument("--first", type=Path, help="a file of names, one a line, to be made before the others")
    options = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    options.journal.mkdir(parents=True, exist_ok=True)
    journal = options.journal / f"{options.family}.jsonl"
    current = options.journal / f"{options.family}.current"
    _note_crash(journal, current)
    done = _done(journal) | _shipped(options.family)
    names = options.names or _names(options.family, options.first)
    for variant in options.variants:
        for number, name in enumerate(names):
            if (name, variant) not in done:
                current.write_text(f"{name} {variant}", encoding="utf-8")
                _append(journal, _make(options.family, name, variant, options.date))
                current.unlink()
                print(f"{number + 1}/{len(names)} {name} {variant}", flush=True)
    return 0


def _note_crash(journal: Path, current: Path) -> None:
    """A model that took the whole process down is not tried again."""
    if current.exists():
        name, variant = current.read_text(encoding="utf-8").split()
        _append(journal, {"target": name, "variants": {variant: {"failed": "the process died"}}})
        current.unlink()


def _done(journal: Path) -> set[tuple[str, str]]:
    if not journal.exists():
        return set()
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    return {(line["target"], variant) for line in lines for variant in line["variants"]}


def _shipped(family: str) -> set[tuple[str, str]]:
    """What the shipped pack has, made by this tracer with the installed versions."""
    from importlib import metadata

    from vramlint.memory.pack import Pack, pack_key
    from vramlint.memory.profile_catalogue import FOLDER
    from vramlint.trace.making import TRACER

    file = Path(FOLDER, f"{family}.jsonl")
    if not file.exists():
        return set()
    pack = Pack(str(file))
    profiles = [profile for name in pack.names() if (profile := pack.find(pack_key(name)))]
    return {
        (profile["name"], variant)
        for profile in profiles
        if profile["tracer"] == TRACER
        and all(metadata.version(package).split("+")[0] == version for package, version in profile["built_by"].items())
        for variant in profile["variants"]
    }


def _append(journal: Path, line: dict[str, Any]) -> None:
    with journal.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, separators=(",", ":")) + "\n")


def _names(family: str, first: Path | None) -> list[str]:
    from vramlint.trace.targets import family_names

    names = list(family_names(family))
    ahead = [] if first is None else [name for name in first.read_text(encoding="utf-8").split() if name in names]
    return list(dict.fromkeys([*ahead, *names]))


def _make(family: str, name: str, variant: str, date: str) -> dict[str, Any]:
    """The journal's line of one model run one way; where it cannot be traced, the variant holds the reason."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from vramlint.trace.making import VariantName, make_profile
    from vramlint.trace.targets import find_target

    precision, _, checkpointing = variant.partition("+")
    started, cpu = time.monotonic(), time.process_time()
    try:
        with _time_limit():
            target = find_target(f"{family}/{name}")
            profile = make_profile(target, date, lambda _: None, [VariantName(precision, bool(checkpointing))])
    except Exception as error:  # noqa: BLE001 - one model that fails must not stop the others
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        profile = {"variants": {variant: {"failed": f"{type(error).__name__}: {reason}"}}}
        print(f"failed: {name} {variant}: {type(error).__name__}: {reason}", file=sys.stderr, flush=True)
    gc.collect()
    FakeTensorMode.cache_clear()
    seconds = {"wall": round(time.monotonic() - started, 1), "cpu": round(time.process_time() - cpu, 1)}
    seconds["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"target": name, **profile, "made": seconds}


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise OutOfTimeError(f"more than {CPU_SECONDS} s")

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


if __name__ == "__main__":
    sys.exit(main())
