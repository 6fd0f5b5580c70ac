"""Times vramlint against yamllint on the same files, alternating, and prints the table that README quotes.

Usage: python tools/bench.py [--rounds 15] [--corpus FOLDER]

Each figure is the median over the rounds of the processor time (user and system) of a whole process, which other work
on the machine disturbs less than the clock. Both programs come from the same environment and both have their bytecode
cached, as pip leaves an installed package.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
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


class Case(NamedTuple):
    """What is timed: the same paths for both programs, and the bar the ratio must stay under."""

    name: str
    paths: tuple[str, ...]
    bar: float
    rounds: int
    options: tuple[str, ...] = ()
    """vramlint's, before the paths."""


class Row(NamedTuple):
    """A timed case, in seconds."""

    case: Case
    vramlint: float
    yamllint: float

    @property
    def ratio(self) -> float:
        return self.vramlint / self.yamllint


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
    ours = [str(PROGRAMS / "vramlint"), *case.options, *case.paths]
    commands = [ours, [str(PROGRAMS / "yamllint"), *case.paths]]
    for command in commands:
        seconds(command, folder)
    rounds = [[seconds(command, folder) for command in commands] for _ in range(case.rounds)]
    return Row(case, *(statistics.median(column) for column in zip(*rounds, strict=True)))


def cases(folder: Path, corpus: Path | None, rounds: int) -> list[Case]:
    """The files to time on; ``folder`` is a scratch folder."""
    (folder / "service.yml").write_text(NO_CONFIG, encoding="utf-8")
    for name in ("vessels/config.yml", "qwen-sft/sft.yaml"):
        example = ROOT / "examples" / name
        (folder / example.name).write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    vision, language = ("config.yml",), ("sft.yaml",)
    found = [
        Case("one YAML file that is no training config", ("service.yml",), 1.0, rounds),
        Case("one training config: plan, estimate, rules", vision, 2.0, rounds),
        Case("one that does not fit its card: with the repairs", language, 2.0, rounds),
        Case("`vramlint estimate` of the same", language, 2.0, rounds, ("estimate",)),
    ]
    if corpus is not None:
        real = sorted(str(path) for path in corpus.resolve().rglob("*") if path.suffix in (".yml", ".yaml"))[:500]
        found.append(Case(f"{len(real)} real configs", tuple(real), 0.25, max(rounds // 5, 3)))
    return found


def table(rows: list[Row]) -> str:
    lines = ["| case | vramlint | yamllint | ratio | bar |", "|---|---|---|---|---|"]
    for row in rows:
        times = f"{1000 * row.vramlint:.0f} ms | {1000 * row.yamllint:.0f} ms"
        lines.append(f"| {row.case.name} | {times} | {row.ratio:.2f}x | {row.case.bar:.2f}x |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--corpus", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [measure(case, folder) for case in cases(folder, arguments.corpus, arguments.rounds)]
    print(table(rows))
    return 0 if all(row.ratio <= row.case.bar for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
