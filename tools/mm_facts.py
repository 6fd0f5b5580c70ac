"""What mmengine itself reads from OpenMMLab's configs, as a table of facts. Runs where mmengine is installed.

    python tools/mm_facts.py .cache/wheels/mmdet-3.3.0-*.whl .cache/wheels/mmsegmentation-1.2.2-*.whl > facts.jsonl

One JSON line a file: ``{"file", "facts"}``, or ``{"file", "error"}`` where mmengine cannot load it. Needs nothing of
vramlint, so that a separate environment will do: ``pip install mmengine`` (0.10.7 is what the figures come from).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

SIZES = ("scale", "scales", "img_scale", "crop_size", "size", "input_size", "random_size_range", "resize_type")
"""Keys of a transform that say how large its images become."""


def facts_of(config: object) -> dict[str, object]:
    """Batch, optimizer, precision, model and image size of a resolved config: plain values by their dotted name."""
    found: dict[str, object] = {}
    for name in (
        "train_dataloader.batch_size",
        "train_dataloader.num_workers",
        "data.samples_per_gpu",
        "optim_wrapper.type",
        "optim_wrapper.dtype",
        "optim_wrapper.loss_scale",
        "optim_wrapper.accumulative_counts",
        "optim_wrapper.optimizer.type",
        "optim_wrapper.optimizer.lr",
        "optimizer.type",
        "model.type",
        "model.backbone.type",
        "model.backbone.depth",
        "model.backbone.with_cp",
        "model.data_preprocessor.size",
        "train_cfg.max_epochs",
        "train_cfg.max_iters",
    ):
        value = _at(config, name)
        if value is not None:
            found[name] = _plain(value)
    sizes = list(_sizes(_at(config, "train_dataloader.dataset")))
    if sizes:
        found["image_sizes"] = sizes
    return found


def _at(node: object, dotted: str) -> object:
    for key in dotted.split("."):
        if not isinstance(node, dict):
            return None
        node = node.get(key)
    return node


def _sizes(node: object, inside: str = "") -> Iterator[list[object]]:
    """Every size in the training pipelines, with its transform, in file order of the keys' names."""
    if isinstance(node, dict):
        kind = str(_plain(node.get("type", inside)))
        for key in sorted(node, key=str):
            if key in SIZES:
                yield [kind, key, _plain(node[key])]
            else:
                yield from _sizes(node[key], kind)
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from _sizes(item, inside)


def _plain(value: object) -> object:
    """A JSON value; tuples are lists, a class is its last name (new-style configs name classes, not strings)."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(getattr(value, "__name__", value)).rsplit(".", 1)[-1]


def main() -> int:
    """Load every config of the wheels; facts to standard output."""
    from mmengine.config import Config  # type: ignore[import-not-found]

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("wheels", nargs="+")
    warnings.simplefilter("ignore")
    for wheel in parser.parse_args().wheels:
        with tempfile.TemporaryDirectory() as folder:
            zipfile.ZipFile(wheel).extractall(folder)
            for path in sorted(Path(folder).glob("*/.mim/configs/**/*.py")):
                name = path.relative_to(folder).as_posix()
                try:
                    with contextlib.redirect_stdout(io.StringIO()):
                        config = Config.fromfile(str(path), import_custom_modules=False)
                    line = {"file": name, "facts": facts_of(config.to_dict())}
                except Exception as error:  # noqa: BLE001 - whatever stops mmengine is a fact of the file
                    line = {"file": name, "error": f"{type(error).__name__}: {error}"[:200]}
                print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
