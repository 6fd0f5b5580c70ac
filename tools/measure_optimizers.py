"""Takes real CPU steps of every optimizer that a library can name, and stores what its states weigh.

Usage: python tools/measure_optimizers.py LIBRARY [--write] [NAME ...]

LIBRARY: timm, pytorch_optimizer, galore, apollo, lomo, prodigy, grokadamw, optimi, came (each needs its package).
Three steps on matrices of four shapes and a vector, in fp32 and, with ``+bf16`` behind the library, in bf16. Storages
reached from the optimizer's state of a parameter are counted once. ``--write`` stores bytes per parameter tensor in
``tests/memory/optimizer_steps.json``, which the tests compare with ``optimizers.py`` where no library is installed.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent.parent / "tests" / "memory" / "optimizer_steps.json"
SHAPES = ((64, 192), (128, 128), (256, 64), (160, 96), (512,))
RANK = 16

Make = Callable[[list[torch.nn.Parameter]], Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("names", nargs="*", help="optimizers (default: all)")
    parser.add_argument("--write", action="store_true", help=f"store the bytes in {RESULTS.name}")
    arguments = parser.parse_args()
    library, _, dtype = arguments.library.partition("+")
    stored: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, make in LIBRARIES[library]():
        if arguments.names and name not in arguments.names:
            continue
        try:
            found = state_bytes(make, torch.bfloat16 if dtype == "bf16" else torch.float32)
        except Exception as error:  # noqa: BLE001 - one optimizer that wants more must not stop the others; printed
            print(f"{name:<24} not stepped: {type(error).__name__}: {str(error)[:80]}", flush=True)
            continue
        print(f"{name:<24} {found}", flush=True)
        stored.setdefault(arguments.library, {})[name] = found
    if arguments.write:
        rows = (
            f'"{key}":{{\n' + ",\n".join(f'  "{name}": {json.dumps(each)}' for name, each in sorted(group.items()))
            for key, group in sorted(stored.items())
        )
        RESULTS.write_text("{" + "},\n".join(rows) + "}}\n")
    return 0


def state_bytes(make: Make, dtype: torch.dtype) -> list[int]:
    """Bytes of the states of each parameter after three steps."""
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(*shape, dtype=dtype) * 0.02) for shape in SHAPES]
    optimizer = make(parameters)
    for _ in range(3):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter) * 0.01
        optimizer.step()
    own = {each.untyped_storage().data_ptr() for each in parameters}
    own |= {each.grad.untyped_storage().data_ptr() for each in parameters if each.grad is not None}
    return [_bytes(optimizer.state.get(parameter, {}), own) for parameter in parameters]


def _bytes(value: Any, seen: set[int], depth: int = 0) -> int:
    """Bytes of all storages on the CPU that ``value`` leads to and that are not in ``seen``."""
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        if storage.data_ptr() in seen:
            return 0
        seen.add(storage.data_ptr())
        return storage.nbytes()
    if isinstance(value, dict):
        return sum(_bytes(each, seen, depth + 1) for each in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_bytes(each, seen, depth + 1) for each in value)
    return _bytes(vars(value), seen, depth + 1) if hasattr(value, "__dict__") and depth < 3 else 0


def _timm() -> Iterator[tuple[str, Make]]:
    from vramlint.trace.stand_ins import torchvision_schemas

    torchvision_schemas()
    from timm.optim import create_optimizer_v2, list_optimizers

    for name in sorted(list_optimizers()):
        yield name, lambda parameters, name=name: create_optimizer_v2(parameters, opt=name, lr=1e-3)


_MUONS = ("muon", "adamuon", "normuon", "muonclip", "adago")


def _pytorch_optimizer() -> Iterator[tuple[str, Make]]:
    import pytorch_optimizer

    for name in sorted(pytorch_optimizer.get_supported_optimizers()):
        yield name, lambda parameters, name=name: _made(pytorch_optimizer.load_optimizer(name), name, parameters)


def _made(kind: Any, name: str, parameters: list[torch.nn.Parameter]) -> Any:
    known = inspect.signature(kind.__init__).parameters
    arguments = {"lr": 1e-4} if "lr" in known else {}
    if name in _MUONS:
        groups = [{"params": parameters[:-1], "use_muon": True}, {"params": parameters[-1:], "use_muon": False}]
        return kind(groups, **arguments)
    if name == "adammini":
        module = torch.nn.Module()
        for number, parameter in enumerate(parameters):
            module.register_parameter(f"p{number}", parameter)
        return kind(module, **arguments)
    return kind(parameters, **arguments)


def _projected(parameters: list[torch.nn.Parameter], **arguments: Any) -> list[dict[str, Any]]:
    rank = {"rank": RANK, "update_proj_gap": 200, "scale": 0.25, "proj_type": "std", **arguments}
    return [{"params": parameters[-1:]}, {"params": parameters[:-1], **rank}]


def _galore() -> Iterator[tuple[str, Make]]:
    from galore_torch import GaLoreAdafactor, GaLoreAdamW

    fixed = {"lr": 1e-3, "scale_parameter": False, "relative_step": False}
    yield "galore_adamw", lambda parameters: GaLoreAdamW(_projected(parameters), lr=1e-3)
    yield "galore_adafactor", lambda parameters: GaLoreAdafactor(_projected(parameters), **fixed)


def _apollo() -> Iterator[tuple[str, Make]]:
    from apollo_torch import APOLLOAdamW

    more = {"proj": "random", "scale_type": "channel"}
    yield "apollo_adamw", lambda parameters: APOLLOAdamW(_projected(parameters, **more), lr=1e-3)


def _prodigy() -> Iterator[tuple[str, Make]]:
    from prodigyopt import Prodigy

    yield "prodigy", lambda parameters: Prodigy(parameters)


def _optimi() -> Iterator[tuple[str, Make]]:
    from optimi import AdamW, StableAdamW

    yield "optimi_adamw", lambda parameters: AdamW(parameters, lr=1e-3)
    yield "stable_adamw", lambda parameters: StableAdamW(parameters, lr=1e-3)


def _came() -> Iterator[tuple[str, Make]]:
    from came_pytorch import CAME

    yield "came_pytorch", lambda parameters: CAME(parameters, lr=1e-3)


LIBRARIES: dict[str, Callable[[], Iterator[tuple[str, Make]]]] = {
    "timm": _timm,
    "pytorch_optimizer": _pytorch_optimizer,
    "galore": _galore,
    "apollo": _apollo,
    "prodigy": _prodigy,
    "optimi": _optimi,
    "came": _came,
}

if __name__ == "__main__":
    raise SystemExit(main())
