"""Writes vramlint/hardware/data/gpus.json from the npm package @huggingface/tasks (MIT) and tools/gpu_overlay.toml.

Usage: python tools/make_gpu_catalogue.py [path to an unpacked or packed @huggingface/tasks]
Without an argument the package is fetched with ``npm pack``.
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OVERLAY = ROOT / "tools" / "gpu_overlay.toml"
TARGET = ROOT / "vramlint" / "hardware" / "data" / "gpus.json"
MIB, GIB = 2**20, 2**30


def main(argv: list[str]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        package = unpacked(Path(argv[0]) if argv else pack(Path(scratch)), Path(scratch))
        version = json.loads((package / "package.json").read_text())["version"]
        cards = skus((package / "dist" / "esm" / "hardware-nvidia.js").read_text())
    overlay = tomllib.loads(OVERLAY.read_text())
    source = f"@huggingface/tasks {version}"
    rows = rows_of(cards, overlay, source)
    document = {
        "schema": 1,
        "source": f"{source} (MIT) joined with tools/gpu_overlay.toml",
        "date": datetime.date.today().isoformat(),
        "machines": overlay["machines"],
        "gpus": sorted(rows, key=lambda row: row["name"]),
    }
    TARGET.write_text(render(document))
    print(f"{len(rows)} GPUs written to {TARGET.relative_to(ROOT)}")
    return 0


def pack(folder: Path) -> Path:
    subprocess.run(["npm", "pack", "--silent", "@huggingface/tasks"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.tgz"))


def unpacked(path: Path, folder: Path) -> Path:
    if path.is_dir():
        return path
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def skus(text: str) -> dict[str, dict[str, Any]]:
    """The entries of NVIDIA_SKUS: memory sizes in GB and compute capability. The file is data in JavaScript syntax."""
    body = text[text.index("NVIDIA_SKUS = {") :]
    found = {}
    for match in re.finditer(r'^    (?:"([^"]+)"|(\w+)): \{(.*?)^    \}', body, re.MULTILINE | re.DOTALL):
        fields = match[3]
        memory = re.search(r"memory: \[([^\]]*)\]", fields)
        capability = re.search(r"computeCapability: ([\d.]+)", fields)
        if memory and capability:
            sizes = [int(size) for size in memory[1].split(",") if size.strip()]
            found[match[1] or match[2]] = {"sizes": sizes, "capability": capability[1]}
    return found


def rows_of(cards: dict[str, dict[str, Any]], overlay: dict[str, Any], source: str) -> list[dict[str, Any]]:
    measured = {(key(entry["name"]), entry["gb"]): entry for entry in overlay["card"]}
    sizes = {key(name): value for name, value in overlay["sizes"].items()}
    rows = []
    for name, card in cards.items():
        variants = sizes.get(key(name), card["sizes"])
        for gb in variants:
            extra = measured.pop((key(name), gb), {})
            rows.append(row(name, gb, variants, card["capability"], extra, overlay, source))
    for entry in overlay["add"]:
        rows.append(row(entry["name"], entry["gb"], [entry["gb"]], entry["capability"], entry, overlay, ""))
    if measured:
        raise SystemExit(f"overlay entries without a card: {sorted(measured)}")
    return rows + slices(rows, overlay)


def row(
    name: str,
    gb: int,
    variants: list[int],
    capability: str,
    extra: dict[str, Any],
    overlay: dict[str, Any],
    source: str,
) -> dict[str, Any]:
    total = extra.get("total_mib", gb * 1024)
    rule = overlay["rule"]
    usable = int(extra["usable_gib"] * GIB) if "usable_gib" in extra else 0
    if not usable:
        reserve = max(min(rule["fixed_mib"], rule["small_share"] * total), rule["share"] * total)
        usable = int((total - reserve) * MIB)
    major, _, minor = capability.partition(".")
    parts = [source, extra.get("source", "")]
    if "total_mib" not in extra:
        parts.append("nominal size")
    if "usable_gib" not in extra:
        parts.append("usable by rule")
    return {
        "name": key(name) + (f"-{gb}gb" if len(variants) > 1 else ""),
        "title": f"NVIDIA {name} {gb} GB",
        "gb": gb,
        "total_mib": total,
        "usable_bytes": usable,
        "capability": [int(major), int(minor or 0)],
        "source": "; ".join(part for part in parts if part),
    }


def slices(rows: list[dict[str, Any]], overlay: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for entry in overlay["mig"]:
        (card,) = [row for row in rows if row["name"] in (key(entry["card"]), f"{key(entry['card'])}-{entry['gb']}gb")]
        for name, gib in entry["slices"].items():
            total = int(gib * 1024)
            found.append(
                {
                    "name": f"{card['name']}-mig-{name}",
                    "title": f"{card['title']}, MIG {name}",
                    "gb": int(name.split(".")[1].removesuffix("gb")),
                    "total_mib": total,
                    "usable_bytes": total * MIB,
                    "capability": card["capability"],
                    "source": "nvidia-smi mig -lgip",
                }
            )
    return found


def key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def render(document: dict[str, Any]) -> str:
    """JSON with one GPU a line, so that a diff shows what changed."""
    head = {name: value for name, value in document.items() if name != "gpus"}
    lines = ",\n".join("    " + json.dumps(row) for row in document["gpus"])
    return json.dumps(head, indent=2)[:-2] + f',\n  "gpus": [\n{lines}\n  ]\n}}\n'


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
