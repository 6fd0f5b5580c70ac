"""Print how many training configs get their folder's dialect, by a written rule of what is none.

    python tools/recognition.py ../shared/corpus .cache/wheels/{mmdet,mmsegmentation,torchtune,ultralytics}-*.whl
    python tools/recognition.py --list negative ../shared/corpus

The rule looks at the path and the text alone, not at the recogniser. These files are counted apart:

- manifest: below ``.github``, ``charts`` or ``manifests``, or with ``apiVersion`` and a ``kind`` of no training job;
- no training: its name (or ``MODE:`` in it) says evaluation, inference, generation, export, conversion or filtering;
- fragment: it sets no batch, no ranks, no sharding and no base file that would, or lies in a group folder of a Hydra
  config (``callbacks``, ``trainer``, ``actor``, ...) or in ``_base_`` or ``common``;
- no config: data cards, model indices (``metafile``), files of a wheel that describe networks, data sets and
  trackers, and in ``lightning-cli`` files without ``trainer`` and ``class_path`` (of other programs there).

Everything else is a training config and is to get its folder's dialect, one and no other. ``negative`` is to get none.
Exit 1 where a share is below 98 %, a file of ``negative`` is claimed or a file is claimed by two.
"""

from __future__ import annotations

import argparse
import re
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vramlint import sources
from vramlint.dialects import registry
from vramlint.errors import SourceError
from vramlint.sources.model import Document

LEAST_SHARE = 0.98
FOLDERS = {
    "gpt-neox": "gpt_neox",
    "lightning-cli": "lightning",
    "lightning-hydra": "lightning_hydra",
    "llm-foundry": "llm_foundry",
    "trl-yaml": "trl hf_trainer",
    "mmdet": "mmengine mmcv",
    "mmdet3d": "mmengine mmcv",
    "mmsegmentation": "mmengine",
}
"""Folders (or wheels) whose dialect has another name, or that hold files of two."""

_MANIFEST = re.compile(r"(^|/)(\.github|charts|manifests)/")
_KIND = re.compile(r"(?m)^apiVersion:(?=[\s\S]*^kind:(?! *(?:TrainJob|PyTorchJob)))")
_NAMED = re.compile(
    r"(?i)(eval(uation)?|infer(ence)?|generat(e|ion)\w*|predict|export|prune|convert|quantization|filter\w*|qatask|"
    r"generate_config|validate_config|config_demo|reference|hf-generate)([._-]|\.|$)"
)
_MODE = re.compile(r"(?m)^MODE: *inference")
_SETS = re.compile(
    r"(?im)(batch|ims_per|samples_per_gpu|max_tokens|max_num_(tokens|elements)|num_processes|distributed_type|"
    r"zero_optimization|_base_|trainjob|pytorchjob|recipe:|train_iters|max_duration)"
)
_GROUPS = re.compile(
    r"(^|/)(callbacks|debug|hydra|logger|trainer|paths|extras|actor|critic|ref|rollout|algorithm|data|common)/[^/]+$|(^|/)_base_/"
)
_HYDRA = ("lightning-hydra", "verl", "mmdet", "mmdet3d", "mmsegmentation")
_CARDS = re.compile(r"(^|/)(cards|models|datasets|trackers|solutions)/")
_TRAINER = re.compile(r"(?m)^ *(trainer|class_path):")
_ACCELERATE = re.compile(r"(?m)^distributed_type:")


class Seen(NamedTuple):
    """A file with what the rule says (why it is counted apart, "" for a training config) and the recogniser's words."""

    path: str
    apart: str
    verdicts: tuple[str, ...]
    wanted: tuple[str, ...]

    @property
    def right(self) -> bool:
        return len(self.verdicts) == 1 and self.verdicts[0] in self.wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", type=Path, nargs="+", metavar="FOLDER|WHEEL")
    parser.add_argument("--list", metavar="FOLDER", help="name every file of one folder with its verdicts")
    arguments = parser.parse_args()
    table = seen_by_folder(arguments.places)
    if arguments.list:
        for each in table[arguments.list]:
            print(f"{each.apart or 'training':12} {' '.join(each.verdicts) or '-':24} {each.path}")
        return 0
    passed = [report(folder, found) for folder, found in sorted(table.items())]
    return 0 if all(passed) else 1


def seen_by_folder(places: list[Path]) -> dict[str, list[Seen]]:
    """Every file of ``places``, by its first folder or its wheel."""
    table: dict[str, list[Seen]] = defaultdict(list)
    for folder, name, data in files(places):
        table[folder].append(seen(folder, name, data))
    return table


def files(places: list[Path]) -> Iterator[tuple[str, str, bytes]]:
    """Folder, path and bytes of every file of a syntax that vramlint reads."""
    for place in places:
        if place.is_dir():
            for path in sorted(place.rglob("*")):
                relative = path.relative_to(place)
                if path.is_file() and sources.syntax_of(path.name) is not None and len(relative.parts) > 1:
                    yield relative.parts[0], str(relative), path.read_bytes()
            continue
        with zipfile.ZipFile(place) as wheel:
            for name in wheel.namelist():
                is_config = name.endswith((".yaml", ".yml")) or ("/.mim/configs/" in name and name.endswith(".py"))
                if is_config:
                    yield place.name.split("-")[0], name, wheel.read(name)


def seen(folder: str, name: str, data: bytes) -> Seen:
    """What the rule and the recogniser say of a file."""
    text = data.decode("utf-8", "replace")
    wanted = ("accelerate",) if _ACCELERATE.search(text) else tuple(FOLDERS.get(folder, folder).split())
    try:
        document = sources.read(name, data)
    except SourceError:
        return Seen(name, apart(folder, name, text) or "unreadable", ("!",), wanted)
    told = tuple(dict.fromkeys(words(document)))
    if told and not registry.prefilter(name, data):
        print(f"prefilter dismisses {name} ({' '.join(told)})", file=sys.stderr)
    return Seen(name, apart(folder, name, text), told, wanted)


def apart(folder: str, name: str, text: str) -> str:
    """Why a file is counted apart by the rule, "" for a training config."""
    file = name.rpartition("/")[2]
    if folder == "negative":
        return "negative"
    if _MANIFEST.search(name) or _KIND.search(text):
        return "manifest"
    if _NAMED.search(file) or _MODE.search(text) or (folder == "dinov2" and "/eval/" in name):
        return "no training"
    if not _SETS.search(text) or (folder in _HYDRA and _GROUPS.search(name)):
        return "fragment"
    if (folder in ("fairseq2", "ultralytics") and _CARDS.search(name)) or file.startswith("metafile."):
        return "no config"
    return "no config" if folder == "lightning-cli" and not _TRAINER.search(text) else ""


def words(document: Document) -> Iterator[str]:
    """The dialects that claim the document; frameworks that are left alone claim nothing."""
    yield from (verdict.dialect for verdict in registry.why(document) if verdict.served)


def report(folder: str, found: list[Seen]) -> bool:
    """Print the row of a folder; whether it passes."""
    training = [each for each in found if not each.apart]
    right = sum(each.right for each in training)
    reasons = Counter(each.apart for each in found if each.apart)
    claimed = [each for each in found if each.apart and each.verdicts not in ((), ("!",))]
    twice = [each for each in found if len(each.verdicts) > 1]
    share = right / len(training) if training else 1.0
    others = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    shown = f"{right:4} of {len(training):4}  {share:6.1%}" if training else f"{'':12}  {'':6}"
    print(f"{folder:18} {len(found):5} files  {shown}  apart: {others or 'none'}; of these claimed: {len(claimed)}")
    for each in [each for each in training if not each.right] + twice:
        print(f"    {' '.join(each.verdicts) or '-':20} {each.path}")
    return share >= LEAST_SHARE and not twice and not (folder == "negative" and claimed)


if __name__ == "__main__":
    sys.exit(main())
