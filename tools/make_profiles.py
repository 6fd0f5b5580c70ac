"""Makes the shipped profiles: ``python tools/make_profiles.py [--date YYYY-MM-DD] [NAME…]``.

Needs torch and the packages of the models' families beside vramlint (see ``docs/trace.md``). Resumable: a profile that
is there and was built by the installed versions is left alone. Deterministic: the same versions and date give the same
bytes. ``--check SHARE`` re-traces a random share and says which differ.

Licences: a profile holds measured facts (sizes) only. Ultralytics (AGPL-3.0) is imported from its own installation and
nothing of it is stored.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import sys
import time
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "vramlint" / "memory" / "data" / "profiles"

NAMES = (
    "resnet50",
    "hrnet_w32",
    "unet",
    "ultralytics/yolo12s",
    "rfdetr/rfdetr_nano",
    "moco_v2_resnet50",
    "moco_v3_resnet50",
    "resnet18",
    "resnet34",
    "resnet101",
    "hrnet_w18",
    "hrnet_w48",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "convnext_tiny",
    *(f"rfdetr/rfdetr_{size}" for size in ("small", "base", "medium", "large", "large_deprecated")),
    *(f"rfdetr/rfdetr_seg_{size}" for size in ("nano", "small", "medium", "large", "xlarge", "2xlarge", "preview")),
    *(f"ultralytics/yolo12{size}" for size in "nml"),
    *(f"ultralytics/yolo11{size}" for size in "nsm"),
    "unet/unet_base32",
    "unet/attention_unet",
    "unet/r2unet",
    "segmentation/unet_resnet34",
    "segmentation/unet_resnet50",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--date", default=datetime.datetime.now(tz=datetime.UTC).date().isoformat())
    parser.add_argument("--force", action="store_true", help="make profiles again that are there already")
    parser.add_argument("--plain", action="store_true", help="leave the variants with checkpointing for later")
    parser.add_argument("--check", type=float, metavar="SHARE", help="re-trace a random share and compare")
    options = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    if options.check is not None:
        return _check(options.names, options.check)
    failed = [name for name in options.names if not _make(name, options)]
    for name in failed:
        print(f"failed: {name}")
    return 1 if failed else 0


def _make(name: str, options: argparse.Namespace) -> bool:
    """Makes the variants of a profile that are missing or out of date. Returns whether all is well."""
    from vramlint.memory.profile import canonical_name
    from vramlint.trace.layout import profile_text
    from vramlint.trace.making import make_profile, variants_of
    from vramlint.trace.targets import find_target

    started = time.monotonic()
    file = FOLDER / f"{canonical_name(name)}.json"
    there = json.loads(file.read_bytes()) if file.exists() and not options.force else None
    kept = there["variants"] if there is not None and _current(there) else {}
    try:
        target = find_target(name)
        wanted = [each for each in variants_of(target) if not (options.plain and each.checkpointing)]
        missing = [each for each in wanted if str(each) not in kept]
        if not missing:
            return True
        data = make_profile(target, options.date, lambda line: print(line, file=sys.stderr, flush=True), missing)
    except Exception:  # noqa: BLE001 - one model that fails must not stop the others
        traceback.print_exc()
        return False
    data["variants"] = {str(each): (kept | data["variants"])[str(each)] for each in variants_of(target)
                        if str(each) in kept | data["variants"]}  # fmt: skip
    file.write_text(profile_text(data), encoding="utf-8")
    worst = max(variant["residual"] for variant in data["variants"].values())
    seconds = time.monotonic() - started
    print(f"{name}: {data['parameters']} parameters, residual {worst:.2%}, {seconds:.0f} s", flush=True)
    return True


def _current(data: dict[str, Any]) -> bool:
    from vramlint.trace.making import TRACER

    if data.get("tracer") != TRACER:
        return False
    try:
        return all(metadata.version(package).split("+")[0] == version for package, version in data["built_by"].items())
    except metadata.PackageNotFoundError:
        return True


def _check(names: list[str], share: float) -> int:
    from vramlint.memory.profile import canonical_name
    from vramlint.trace.layout import profile_text
    from vramlint.trace.making import make_profile
    from vramlint.trace.targets import find_target

    chosen = random.sample(list(names), max(1, round(share * len(names))))
    different = 0
    for name in chosen:
        shipped = json.loads((FOLDER / f"{canonical_name(name)}.json").read_bytes())
        again = make_profile(find_target(name), shipped["date"], lambda _: None)
        same = json.loads(profile_text(again)) == shipped
        different += not same
        print(f"{name}: {'equal' if same else 'DIFFERENT'}", flush=True)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
