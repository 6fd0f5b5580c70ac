"""How many configs of OpenMMLab's wheels get an estimate, by family, and what stands in the way of the others.

Usage: python tools/wheel_coverage.py [mmsegmentation] [mmdet]   (wheels by tools/fetch_wheels.sh)
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter

from scoring.wheel_plans import wheel

from vramlint.hardware import Target
from vramlint.memory import estimate


def main(projects: list[str]) -> int:
    for project in projects or ["mmsegmentation", "mmdet"]:
        found = wheel(project)
        if found is None:
            print(f"no wheel of {project}: run tools/fetch_wheels.sh", file=sys.stderr)
            return 2
        began = time.perf_counter()
        answered: Counter[str] = Counter()
        families: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for path in found.configs():
            family = path.split("/", 1)[0]
            families[family] += 1
            because = _unanswered(found.plan(path, Target(None, 8, source="--gpus")))
            answered[family] += not because
            if because:
                reasons[because] += 1
        seconds = time.perf_counter() - began
        total, known = sum(families.values()), sum(answered.values())
        print(f"{project}: {known} of {total} configs ({known / total:.1%}) in {seconds:.1f} s")
        for family, count in sorted(families.items()):
            print(f"  {family:<24} {answered[family]:>4} of {count:>4}")
        print("  without an estimate:")
        for reason, count in reasons.most_common(40):
            print(f"  {count:>4}  {reason}")
    return 0


def _unanswered(plan: object) -> str:
    """Why the plan has no estimate, without the file's own numbers; empty where it has one."""
    if plan is None:
        return "no dialect claims the file"
    found = estimate(plan, Target())  # type: ignore[arg-type]
    return "" if found.allocated is not None else re.sub(r" \(\d+ of \d+ parts.*", "", found.unknown_because)[:100]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
