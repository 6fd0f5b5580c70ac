"""Times vramlint against the budgets of its design, and prints the tables that README quotes.

Usage: python tools/bench.py [--rounds 15] [--corpus FOLDER] [--python FOLDER]

Whole processes: against yamllint on the same files (without a yardstick there is no bar: machines differ), and on
Python files against ruff. Each figure is the median over the rounds of a process's processor time (user and system),
which other work on the machine disturbs less than the clock; the programs alternate. Both come from the same
environment and have their bytecode cached, as pip leaves an installed package. Then one estimate after start-up, as
``bench_estimates`` times it. ``--corpus`` is a folder of real configs; ``--python`` one of Python files of which few
are configs, the standard library where it is left out.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
NO_CONFIG = """\
---
# settings of a web service
service: {name: shop, port: 8080}
replicas: 3
features:
  - search
  - basket
  - reviews
logging:
  level: info
  format: json
"""


DETECTOR = Path(__file__).with_name("bench_mask_rcnn.txt")


class Case(NamedTuple):
    """What is timed: the same paths for both programs, and the bar the ratio must stay under."""

    name: str
    paths: tuple[str, ...]
    bar: float
    rounds: int
    options: tuple[str, ...] = ()
    """vramlint's, before the paths."""
    beside: tuple[str, ...] = ("yamllint",)
    """The other program and its options."""
    start_up: bool = False
    """Whether the bar is for the time beyond vramlint's own start."""


class Row(NamedTuple):
    """A timed case, in seconds."""

    case: Case
    vramlint: float
    other: float
    start: float = 0.0

    @property
    def ratio(self) -> float:
        return (self.vramlint - self.start) / self.other


def seconds(command: list[str], folder: Path) -> float:
    """Processor time of one process. An editable install is compiled into the scratch folder once, not each time."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(case: Case, folder: Path) -> Row:
    """Run both programs in turn, after one round that warms the caches."""
    ours, (other, *options) = str(PROGRAMS / "vramlint"), case.beside
    commands = [[ours, *case.options, *case.paths], [str(PROGRAMS / other), *options, *case.paths]]
    if case.start_up:
        commands.append([ours, "service.yml"])
    for command in commands:
        seconds(command, folder)
    rounds = [[seconds(command, folder) for command in commands] for _ in range(case.rounds)]
    return Row(case, *(statistics.median(column) for column in zip(*rounds, strict=True)))


def cases(folder: Path, corpus: Path | None, python: Path, rounds: int) -> list[Case]:
    """The files to time on; ``folder`` is a scratch folder."""
    (folder / "service.yml").write_text(NO_CONFIG, encoding="utf-8")
    for name in ("vessels/config.yml", "qwen-sft/sft.yaml"):
        example = ROOT / "examples" / name
        (folder / example.name).write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "mask_rcnn.py").write_text(DETECTOR.read_text(encoding="utf-8"), encoding="utf-8")
    vision, language, detector = ("config.yml",), ("sft.yaml",), ("mask_rcnn.py",)
    few, card = max(rounds // 5, 3), ("--gpu", "a100-40gb")
    scripts = tuple(sorted(str(path) for path in python.rglob("*.py") if "site-packages" not in path.parts)[:500])
    found = [
        Case("one YAML file that is no training config", ("service.yml",), 1.0, rounds),
        Case("one training config that does not fit its card: plan, estimate, rules, repairs", vision, 2.0, rounds),
        Case("the same of a language model", language, 2.0, rounds),
        Case("`vramlint estimate` of it", language, 2.0, rounds, ("estimate",)),
        Case("a detector's Python config, worked out layer by layer", detector, 2.0, rounds, card),
        Case("`vramlint estimate` of it", detector, 2.0, rounds, ("estimate",)),
        Case(
            f"{len(scripts)} Python files, beyond start-up, beside ruff", scripts, 3.0, few,
            beside=("ruff", "check", "--no-cache"), start_up=True,
        ),
    ]  # fmt: skip
    if corpus is not None:
        real = tuple(sorted(str(path) for path in corpus.rglob("*") if path.suffix in (".yml", ".yaml"))[:500])
        found.append(Case(f"{len(real)} real configs", real, 0.25, few))
        if (PROGRAMS / "check-jsonschema").exists():
            schema = ("check-jsonschema", "--schemafile", str(ROOT / "docs" / "settings.schema.json"))
            found.append(Case(f"{len(real)} real configs, beside check-jsonschema", real, 0.35, few, beside=schema))
    return found


def table(rows: list[Row]) -> str:
    """A row a case."""
    lines = ["| case | vramlint | yamllint or the other | ratio | bar |", "|---|---|---|---|---|"]
    for row in rows:
        times = f"{1000 * row.vramlint:.0f} ms | {1000 * row.other:.0f} ms"
        lines.append(f"| {row.case.name} | {times} | {row.ratio:.2f}x | {row.case.bar:.2f}x |")
    return "\n".join(lines)


def main() -> int:
    """Prints both tables; 1 where a bar is missed."""
    import bench_estimates  # beside this script

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--corpus", type=Path, default=None)
    parser.add_argument("--python", type=Path, default=Path(sysconfig.get_path("stdlib")))
    arguments = parser.parse_args()
    corpus = None if arguments.corpus is None else arguments.corpus.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = cases(folder, corpus, arguments.python.resolve(), arguments.rounds)
        rows = [measure(case, folder) for case in wanted]
        configs = [str(folder / file) for file in ("config.yml", "sft.yaml", "mask_rcnn.py")]
        timed = bench_estimates.measure([*configs, *([str(corpus)] if corpus else [])])
    print(table(rows), bench_estimates.table(timed), sep="\n\n")
    good = all(row.ratio <= row.case.bar for row in rows) and all(
        each.milliseconds <= bench_estimates.BAR_MS for each in timed
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
