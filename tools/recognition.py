"""Print which dialect claims which files: a table of folders x dialects over a corpus of configs.

    python tools/recognition.py ../shared/corpus
    python tools/recognition.py --list negative ../shared/corpus

The first folder below the corpus is the row; a file nobody claims counts as ``-``, one whose reading is refused as
``!``, one that belongs to a framework vramlint leaves alone under that framework's name in brackets.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path

from vramlint import sources
from vramlint.dialects import registry
from vramlint.errors import SourceError
from vramlint.sources.model import Document


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--list", metavar="FOLDER", help="name every file of one folder with its verdicts")
    arguments = parser.parse_args()
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for path in sorted(arguments.corpus.rglob("*")):
        if not path.is_file() or sources.syntax_of(path.name) is None:
            continue
        relative = path.relative_to(arguments.corpus)
        folder = relative.parts[0] if len(relative.parts) > 1 else "."
        verdict = _verdict(path, str(relative))
        table[folder][verdict] += 1
        if arguments.list == folder:
            print(f"{verdict:24} {relative}")
    _print(table)
    return 0


def _verdict(path: Path, name: str) -> str:
    data = path.read_bytes()
    try:
        document = sources.read(name, data)
    except SourceError:
        return "!"
    told = " ".join(dict.fromkeys(_words(document)))
    if told and not told.startswith("[") and not registry.prefilter(name, data):
        print(f"prefilter dismisses {name} ({told})", file=sys.stderr)
    return told or "-"


def _words(document: Document) -> list[str]:
    return [found.dialect if found.served else f"[{found.dialect}]" for found in registry.why(document)]


def _print(table: dict[str, Counter[str]]) -> None:
    width = max(len(folder) for folder in table)
    for folder, counts in sorted(table.items()):
        cells = "  ".join(f"{name} {count}" for name, count in counts.most_common())
        print(f"{folder:{width}}  {sum(counts.values()):5}  {cells}")


if __name__ == "__main__":
    sys.exit(main())
