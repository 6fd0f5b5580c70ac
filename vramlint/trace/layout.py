"""How a profile is written: JSON that a person can read, one moment a line. Free of torch."""

from __future__ import annotations

import json
from typing import Any

_INLINE = ("fresh", "kept", "evaluation")


def profile_text(data: dict[str, Any]) -> str:
    """The profile as indented JSON, each moment, list of terms and whole step on one line."""
    rows: list[str] = []

    def line(value: Any) -> str:
        rows.append(json.dumps(value))
        return f"@{len(rows) - 1}@"

    variants = {
        name: {
            **variant,
            "terms": line(variant["terms"]),
            **{part: [line(row) for row in variant[part]] for part in _INLINE},
        }
        for name, variant in data["variants"].items()
    }
    steps = {"steps": [line(step) for step in data["steps"]]} if "steps" in data else {}
    text = json.dumps({**data, **steps, "variants": variants}, indent=1)
    for index, row in enumerate(rows):
        text = text.replace(f'"@{index}@"', row)
    return text + "\n"
