"""Traces against the CPU allocator's own events on real steps: ``python -m tools.compare_reality [NAME…]``.

A step of each model with SGD and momentum on the CPU, in a process of its own, beside a trace of the same step: the
bytes themselves, kernels as the CPU chooses them. (Under AdamW most peaks lie in its update, where every trace is
exact.) What convolutions allocate inside themselves is in no trace. So a model with convolutions takes its step three
ways: as torch runs it (oneDNN), with oneDNN off, and with convolutions that allocate what they return and nothing else
(``tools/reality.py``); the trace is the same throughout. A model passes within 0.5 % of the step as it is, or, where it
is further off, of the step with hollow convolutions: then the difference is all inside convolutions. Needs torch, and
timm and transformers for their models.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

BAR = 0.005

IMAGE, SMALL = (2, 224, 224), (2, 96, 96)
MODELS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "resnet50": ("timm/resnet50", IMAGE, {}),
    "mobilenetv3": ("timm/mobilenetv3_large_100", IMAGE, {}),
    "efficientnet-b0": ("timm/efficientnet_b0", IMAGE, {}),
    "convnext-tiny": ("timm/convnext_tiny", IMAGE, {}),
    "densenet121": ("timm/densenet121", IMAGE, {}),
    "hrnet-w18": ("timm/hrnet_w18", IMAGE, {}),
    "vit-small": ("timm/vit_small_patch16_224", IMAGE, {}),
    "swin-tiny": ("timm/swin_tiny_patch4_window7_224", IMAGE, {}),
    "mixer-b16": ("timm/mixer_b16_224", IMAGE, {}),
    "unet": ("plain/unet", SMALL, {}),
    "bert": ("bert", (4, 128), {"num_hidden_layers": 4}),
    "gpt2": ("gpt2", (4, 128), {"num_hidden_layers": 4}),
    "llama": ("llama", (2, 256), {
        "hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 2,
        "intermediate_size": 1376, "vocab_size": 8000,
    }),
    "t5-small": ("t5", (4, 128), {}),
    "mamba": ("mamba", (2, 64), {"hidden_size": 256, "num_hidden_layers": 4, "vocab_size": 8000}),
}  # fmt: skip
"""By name: a target of ``vramlint trace`` or a model type of transformers, batch and size, changes of its config."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(MODELS))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(_peaks(options.names[0])))
        return 0
    print(
        f"{'model':<18}{'traced':>11}{'real':>11}{'off by':>9}{'no oneDNN':>11}{'off by':>9}{'hollow':>11}{'off by':>9}"
    )
    worst = max(_row(name) for name in options.names)
    print(f"worst, without what convolutions allocate inside where that is needed: {worst:.3%} (bar {BAR:.1%})")
    return 0 if worst <= BAR else 1


def _row(name: str) -> float:
    """Prints a model's row; how far the trace is from the real step, from the hollow one where that is not within."""
    peaks = _apart(name)
    traced = peaks.pop("traced")
    cells = "".join(f"{size / 2**20:>11.2f}{traced / size - 1:>9.2%}" for size in peaks.values())
    print(f"{name:<18}{traced / 2**20:>11.2f}{cells}", flush=True)
    real = abs(traced / peaks["real"] - 1)
    return real if real <= BAR else abs(traced / peaks.get("hollow", peaks["real"]) - 1)


def _apart(name: str) -> dict[str, int]:
    """The peaks in bytes, from a process of its own: tracing registers operators that cannot be unregistered."""
    command = [sys.executable, "-m", "tools.compare_reality", name, "--here"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    peaks: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return peaks


def _peaks(name: str) -> dict[str, int]:
    """The step as it is; with oneDNN off and with hollow convolutions where there are any; and traced, at the end."""
    import torch

    from tools.reality import HollowConvolutions, real_peak_bytes, traced_peak_bytes

    torch.set_num_threads(1)
    torch.manual_seed(0)
    build, shape = _builder(name)
    peaks = {"real": real_peak_bytes(build, _sgd)}
    kinds = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    if any(isinstance(module, kinds) for module in build().model.modules()):
        with torch.backends.mkldnn.flags(enabled=False):
            peaks["oneDNN off"] = real_peak_bytes(build, _sgd)
        with HollowConvolutions():  # type: ignore[no-untyped-call]
            peaks["hollow"] = real_peak_bytes(build, _sgd)
    return {**peaks, "traced": traced_peak_bytes(build, _sgd, shape)}


def _sgd(parameters: list[Any]) -> Any:
    import torch

    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, foreach=True)


def _builder(name: str) -> tuple[Callable[[], Any], Any]:
    from vramlint.trace.events import Shape
    from vramlint.trace.stand_ins import torchvision_schemas
    from vramlint.trace.targets import find_target

    torchvision_schemas()
    target_name, point, changes = MODELS[name]
    if len(point) == 3:
        shape, target = Shape(*point), find_target(target_name)
        return lambda: target.make(shape, False), shape  # noqa: FBT003
    shape = Shape(point[0], seq_len=point[1])
    return lambda: _text(target_name, changes, shape), shape


def _text(kind: str, changes: dict[str, Any], shape: Any) -> Any:
    """A model of transformers with attention as plain matrix products, which CPU and trace run alike, no dropout."""
    import torch
    import transformers

    from vramlint.trace.tracer import Job

    off = dict.fromkeys(("attention_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "dropout_rate"), 0.0)
    off |= dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
    config = transformers.AutoConfig.for_model(kind, **changes)
    for key, value in off.items():
        if hasattr(config, key):
            setattr(config, key, value)
    config.use_cache, config._attn_implementation = False, "eager"
    config.decoder_start_token_id = config.pad_token_id = 0
    head = {"bert": "AutoModelForMaskedLM", "t5": "AutoModelForSeq2SeqLM"}.get(kind, "AutoModelForCausalLM")
    model = getattr(transformers, head).from_config(config)
    model.tie_weights()

    def batch() -> dict[str, torch.Tensor]:
        ids = torch.zeros(shape.batch, shape.seq_len, dtype=torch.int64)
        return {"input_ids": ids, "labels": torch.zeros_like(ids)}

    return Job(model, batch, lambda model, batch: model(**batch).loss)


if __name__ == "__main__":
    sys.exit(main())
