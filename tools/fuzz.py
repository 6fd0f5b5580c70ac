"""Feed spoilt files to every reader and editor, and watch that none crashes, hangs or fills the memory.

    python tools/fuzz.py --minutes 30                a run; its cases follow from --seed alone
    python tools/fuzz.py --seed 1 --case 8123        one case again, its bytes written to standard output

Every case is read; what reads is also edited (one value replaced, one key inserted, one entry deleted), Python is
resolved as a project, shell is read as a command inside another file. Allowed are SourceError from reading and
EditRefused from editing. A finding is anything else, a read of more than 2 s (processor time, so that a busy machine
makes no findings), or a process that ever held more than 500 MB. Cases run in child processes: a segmentation fault
ends one of them and is a finding as well. Counts at the end; exit 1 where there were findings.
"""

from __future__ import annotations

import argparse
import collections
import gc
import mmap
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from tools.fuzz_cases import Seeds, load_seeds, make_case
from vramlint import sources
from vramlint.errors import EditRefused, SourceError
from vramlint.sources.model import Document, Scalar, Style, Syntax, TextEdit, apply_edits
from vramlint.sources.python_project import PythonProject
from vramlint.sources.shell_reader import parse_commands

MOST_SECONDS = 2.0
MOST_BYTES = 500_000_000
KILL_SECONDS = 20.0
CASES_PER_CHILD = 400
ADDRESS_SPACE = 3_000_000_000


class Result(NamedTuple):
    """One case: whether it was read, how long that took (processor seconds), what is wrong (empty: nothing)."""

    outcome: str
    seconds: float
    finding: str


def run_case(syntax: Syntax, data: bytes, random: Random) -> Result:
    """Read and edit one input."""
    started = time.process_time()
    try:
        document = sources.read(f"fuzz.{syntax.value}", data, syntax)
        seconds = time.process_time() - started
        finding = _try_further(document, random) or _misplaced(document)
        outcome = "read"
    except SourceError as error:
        seconds = time.process_time() - started
        finding, outcome = "" if error.message else "an error without a message", type(error).__name__
    except Exception:  # noqa: BLE001 - any other exception is what is looked for
        return Result("crash", time.process_time() - started, traceback.format_exc(limit=-6))
    whole = time.process_time() - started
    if not finding and seconds > MOST_SECONDS:
        finding = f"reading took {seconds:.1f} s"
    if not finding and whole - seconds > 5 * MOST_SECONDS:
        finding = f"editing and resolving took {whole - seconds:.1f} s"
    return Result(outcome, seconds, finding)


def _try_further(document: Document, random: Random) -> str:
    """Edit, resolve and measure what was read; text where something is wrong."""
    mappings = list(document.mappings())
    if mappings:
        mapping = random.choice(mappings)
        edits = [_attempt(sources.insert_entry, document, mapping, "vramlint_probe", 7)]
        if mapping.entries:
            entry = random.choice(mapping.entries)
            edits.append(_attempt(sources.delete_entry, document, mapping, entry))
            if isinstance(entry.value, Scalar):
                edits.append(
                    _attempt(sources.replace_value, document, entry.value, random.choice((8, "no", 1e-4, True)))
                )
        for edit in edits:
            if edit is not None:
                sources.encode(document, apply_edits(document.text, [edit]))
    if document.syntax is Syntax.PYTHON:
        project = PythonProject(lambda path: document if path == document.path else None)
        project.module(document.path)
        for definition in document.definitions[:20]:
            project.class_(document, definition)
    if document.syntax is Syntax.SHELL:
        parse_commands(document.text, random.randrange(100), document.path)
    document.position(len(document.text))
    return ""


def _attempt(make: object, *arguments: object) -> TextEdit | None:
    try:
        return make(*arguments)  # type: ignore[operator, no-any-return]
    except EditRefused:
        return None


def _misplaced(document: Document) -> str:
    """Text where a scalar's span does not hold the scalar's text."""
    for mapping in document.mappings():
        for entry in mapping.entries:
            node = entry.value
            if not isinstance(node, Scalar) or node.style is Style.COMPUTED or entry.merged:
                continue
            if document.text[node.span.start : node.span.end] != node.text:
                return f"misplaced {entry.key!r}: {node.span} is not {node.text!r}"
    return ""


class Tally:
    """Counts of a run."""

    def __init__(self) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.slowest: dict[str, tuple[float, int]] = {}
        self.findings: list[tuple[int, str]] = []
        self.peak_bytes = 0

    def add(self, number: int, result: Result) -> None:
        syntax = list(Syntax)[number % len(Syntax)].value
        self.outcomes[f"{syntax} {result.outcome}"] += 1
        if result.seconds > self.slowest.get(syntax, (0.0, 0))[0]:
            self.slowest[syntax] = (result.seconds, number)
        if result.finding:
            self.find(number, result.finding)

    def find(self, number: int, text: str) -> None:
        self.findings.append((number, text))
        print(f"case {number}: {text}", flush=True)

    def show(self) -> None:
        """The counts, one line each."""
        print(f"{sum(self.outcomes.values()):,} cases")
        for name, count in sorted(self.outcomes.items()):
            print(f"{count:10,} {name}")
        for syntax, (seconds, number) in sorted(self.slowest.items()):
            print(f"slowest {syntax}: {seconds:.2f} s (case {number})")
        print(f"largest process: {self.peak_bytes / 1e6:.0f} MB")
        print(f"{len(self.findings)} findings")


class Runner:
    """Runs cases in child processes, ``CASES_PER_CHILD`` in each, and outlives their deaths."""

    def __init__(self, seed: int, seeds: Seeds, keep: Path | None = None) -> None:
        self.seed = seed
        self.seeds = seeds
        self.keep = keep
        self.tally = Tally()
        self._current = mmap.mmap(-1, 8)
        """The case that a child is at, seen by the parent."""

    def run(self, first: int, seconds: float) -> int:
        """Run from case ``first`` until the time is over; the number behind the last case."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            first = self._child(first, deadline)
            self.save_findings()
        return first

    def save_findings(self) -> None:
        """Write the bytes of every finding to the folder ``keep``: the seeds change with the checkout."""
        if self.keep is None or not self.tally.findings:
            return
        self.keep.mkdir(parents=True, exist_ok=True)
        for number, _text in self.tally.findings:
            syntax, data = make_case(self.seed, number, self.seeds)
            (self.keep / f"{self.seed}-{number}.{syntax.value}").write_bytes(data)

    def _child(self, first: int, deadline: float) -> int:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._work(first, deadline, writing)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as lines:
            next_case, stuck = self._listen(lines, child, first)
        _, status, usage = os.wait4(child, 0)
        self.tally.peak_bytes = max(self.tally.peak_bytes, usage.ru_maxrss * 1024)
        if os.WIFSIGNALED(status):
            at = int.from_bytes(self._current[:8], "little")
            how = f"hung for {KILL_SECONDS:.0f} s" if stuck else f"died of {signal.Signals(os.WTERMSIG(status)).name}"
            self.tally.find(at, f"the reader {how}")
            return at + 1
        return next_case

    def _listen(self, lines: object, child: int, first: int) -> tuple[int, bool]:
        """Take the results of a child; end it when it stays at one case for too long."""
        import select

        done, last, since = first, -1, 0.0
        while True:
            ready, _, _ = select.select([lines], [], [], 2.0)
            if ready:
                line = lines.readline()  # type: ignore[attr-defined]
                if not line:
                    return done, False
                number, outcome, seconds, finding = line.rstrip("\n").split("\t", 3)
                self.tally.add(int(number), Result(outcome, float(seconds), finding.replace("\x1e", "\n")))
                done = int(number) + 1
                continue
            at, spent = int.from_bytes(self._current[:8], "little"), _processor_seconds(child)
            if at != last:
                last, since = at, spent
            elif spent - since > KILL_SECONDS:
                os.kill(child, signal.SIGKILL)
                return done, True

    def _work(self, first: int, deadline: float, writing: int) -> None:
        """The child's life; never returns."""
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        gc.freeze()
        with os.fdopen(writing, "w", encoding="utf-8", errors="backslashreplace") as out:
            for number in range(first, first + CASES_PER_CHILD):
                self._current[:8] = number.to_bytes(8, "little")
                syntax, data = make_case(self.seed, number, self.seeds)
                result = run_case(syntax, data, Random(number))
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                if peak > MOST_BYTES and not result.finding:
                    result = result._replace(finding=f"the process grew to {peak / 1e6:.0f} MB")
                finding = result.finding.replace("\n", "\x1e").replace("\r", " ").replace("\t", " ")
                out.write(f"{number}\t{result.outcome}\t{result.seconds:.4f}\t{finding}\n")
                out.flush()
                if peak > MOST_BYTES or time.monotonic() > deadline:
                    break
        os._exit(0)


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(argv: Sequence[str] | None = None) -> int:
    """Run; exit 1 where there were findings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--keep", type=Path, help="folder for the bytes of findings")
    parser.add_argument("--case", type=int, help="write the bytes of one case to standard output, and run it")
    options = parser.parse_args(argv)
    seeds = load_seeds()
    if options.case is not None:
        syntax, data = make_case(options.seed, options.case, seeds)
        sys.stdout.buffer.write(data)
        result = run_case(syntax, data, Random(options.case))
        print(f"\n{syntax.value} {result.outcome} {result.seconds:.2f} s {result.finding}", file=sys.stderr)
        return 1 if result.finding else 0
    for number in range(20 * len(Syntax)):  # every module is imported before the children part from this process
        run_case(*make_case(0, number, seeds), Random(number))
    runner = Runner(options.seed, seeds, options.keep)
    runner.run(options.first, options.minutes * 60)
    runner.tally.show()
    print(f"{options.minutes:g} minutes, seed {options.seed}, {sum(map(len, seeds.values())):,} seed files")
    return 1 if runner.tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
