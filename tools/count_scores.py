"""Counts the attention scores of timm's models that today's kernels fuse: ``python tools/count_scores.py``.

Writes ``vramlint/memory/data/attention_scores.json``: scores per image over all blocks, of the largest block, and the
image side. Only models with a profile are counted. Needs torch, timm and torchvision; parameters stay on the meta
device, so nothing is computed.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "vramlint" / "memory" / "data"


def main() -> int:
    from vramlint.memory.pack import pack_key
    from vramlint.trace.stand_ins import torchvision_schemas

    torchvision_schemas()
    scores = {}
    for name in _names():
        counted = count(name)
        if counted is not None:
            scores[pack_key(name)] = counted
    rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(scores[key])}" for key in sorted(scores))
    built_by = json.dumps({package: metadata.version(package).split("+")[0] for package in ("timm", "torch")})
    text = f'{{"built_by": {built_by}, "scores": {{\n{rows}\n}}}}\n'
    (DATA / "attention_scores.json").write_text(text, encoding="utf-8")
    print(f"{len(scores)} models")
    return 0


def _names() -> list[str]:
    lines = (DATA / "profiles" / "timm.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["name"] for row in map(json.loads, lines) if "name" in row]


def count(name: str) -> list[int] | None:
    """Scores per image over all blocks, of the largest block, and the image side; None where nothing is fused."""
    import timm
    import torch
    import torch.nn.functional as functional

    seen: list[int] = []

    def fused(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> Any:
        seen.append(query.numel() // query.shape[-1] * key.shape[-2])
        return query.new_empty((*query.shape[:-1], value.shape[-1]))

    real = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = fused
    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False).train()
            size = model.pretrained_cfg["input_size"]
            model(torch.empty(2, *size))
    except (RuntimeError, AssertionError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        print(f"{name}: not counted: {error}", file=sys.stderr)
        return None
    finally:
        functional.scaled_dot_product_attention = real
    return [sum(seen) // 2, max(seen) // 2, size[-1]] if seen else None


if __name__ == "__main__":
    sys.exit(main())
