"""Packs traced profiles into the shipped files: ``python tools/pack_profiles.py FAMILY [--journal FOLDER]``.

Takes what the shipped pack has and what the journal of ``make_profiles.py`` adds, variant by variant, and writes the
pack again: sorted, one model a line. Needs the family's packages only for other names of its models.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from vramlint.memory.pack import Pack, common_members, pack_key, pack_text
from vramlint.memory.profile_catalogue import FOLDER

JOURNAL = Path(".vramlint/catalogue")

COMMON = ("schema", "tracer", "built_by", "date", "assumptions", "size_multiple", "fixed_size", "default_size")
"""Members that most profiles of a family share."""

ORDER = ("fp32", "fp32+checkpointing", "amp", "amp+checkpointing")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family")
    parser.add_argument("--journal", type=Path, default=JOURNAL)
    options = parser.parse_args()

    file = Path(FOLDER, f"{options.family}.jsonl")
    shipped = Pack(str(file)) if file.exists() else None
    profiles = {} if shipped is None else {pack_key(name): shipped.find(pack_key(name)) for name in shipped.names()}
    aliases = {} if shipped is None else shipped.aliases()
    failed = Counter[str]()
    for line in _lines(options.journal / f"{options.family}.jsonl"):
        if "name" not in line:
            failed.update(f"{line['target']} {variant}: {each['failed']}" for variant, each in line["variants"].items())
            continue
        _merge(profiles, line)
    aliases.update(_other_names(options.family, profiles))
    data = {key: _ordered(profile) for key, profile in profiles.items() if profile is not None}
    file.write_text(pack_text(common_members(data.values(), COMMON), data, aliases), encoding="utf-8", newline="\n")
    for reason in failed:
        print(f"failed: {reason}", file=sys.stderr)
    kinds = Counter(variant for profile in data.values() for variant in profile["variants"])
    print(f"{file.name}: {len(data)} models, {len(aliases)} other names, {file.stat().st_size:,} bytes, {dict(kinds)}")
    return 0


def _lines(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()] if journal.exists() else []


def _merge(profiles: dict[str, Any], line: dict[str, Any]) -> None:
    """Adds a line's variants to the profile of its model, which it replaces where anything else differs."""
    fresh = {name: value for name, value in line.items() if name not in ("target", "made")}
    if fresh["trainable"] == fresh["parameters"]:
        del fresh["trainable"]
    key = pack_key(line["target"])
    there = profiles.get(key)
    if there is not None and _same_but_variants(there, fresh):
        fresh = {**there, "variants": {**there["variants"], **fresh["variants"]}}
    profiles[key] = fresh


def _same_but_variants(first: dict[str, Any], second: dict[str, Any]) -> bool:
    names = (first.keys() | second.keys()) - {"variants", "key"}
    return all(first.get(name) == second.get(name) for name in names)


def _ordered(profile: dict[str, Any]) -> dict[str, Any]:
    variants = {name: profile["variants"][name] for name in ORDER if name in profile["variants"]}
    return {**{name: value for name, value in profile.items() if name != "key"}, "variants": variants}


def _other_names(family: str, profiles: dict[str, Any]) -> dict[str, str]:
    from vramlint.trace.targets import other_names

    names = ((pack_key(other), pack_key(name)) for other, name in other_names(family).items())
    return {other: name for other, name in names if name in profiles and other not in profiles}


if __name__ == "__main__":
    sys.exit(main())
