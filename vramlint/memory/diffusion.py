"""Diffusion denoisers by name or by their ``config.json``: U-Nets and diffusion transformers, traced with diffusers.

A folder's ``transformer/config.json`` or ``unet/config.json`` is one of the catalogue's where class and sizes are the
same; the number of blocks may differ, since a trace tells what one block more takes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from vramlint.memory.denoiser import Adapters, Beside, Denoiser, TracedMoment, Way
from vramlint.memory.local_models import folders_of, read_json
from vramlint.patterns import later

_DATA = os.path.join(os.path.dirname(__file__), "data", "diffusion.json")
_SUFFIX = later(r"\.(safetensors|ckpt|pt|gguf)$")
_RANK = 16
"""Rank at which the traces' gradient elements are counted."""

ALL_LINEAR = "lora-all"
ALL_LINEAR_PLAIN = "lora-all-plain"
ATTENTION = "lora"
ATTENTION_16_BITS = "lora16"


def find_denoiser(name: str) -> Denoiser | None:
    """The denoiser of the checkpoint called ``name``, as hubs and files spell it, trained whole."""
    found = _by_name().get(_key(name))
    return None if found is None else _denoiser(found)


def local_denoiser(name: str, config_path: str) -> Denoiser | None:
    """The denoiser in the folder ``name``, a pipeline's or its own, which the file ``config_path`` names."""
    for folder in folders_of(name, config_path):
        for part in ("transformer", "unet", ""):
            path = os.path.join(folder, part, "config.json")
            data = read_json(path) or {}
            found = _of_config(data) if "_class_name" in data else None
            if found is not None:
                shown = os.path.relpath(path).replace(os.sep, "/")
                return found._replace(made=f"{found.made}; config of {shown}")
    return None


def denoisers() -> tuple[Denoiser, ...]:
    """Every denoiser of the catalogue."""
    return tuple(_denoiser(number) for number in range(len(_lines())))


def with_adapters(denoiser: Denoiser, rank: int, mode: str = ATTENTION, bytes_each: int = 4) -> Denoiser:
    """The denoiser frozen, with LoRA of ``rank`` in this mode; of a mode that was not traced, :func:`is_traced` tells,
    the parameters are right and the activations those of adapters on the attention."""
    per_rank = _per_rank(denoiser, _PER_RANK.get(mode, "lora_per_rank"))
    traced = mode if is_traced(denoiser, mode) else ATTENTION
    elements = _RANK * (per_rank if traced == mode else _per_rank(denoiser, "lora_per_rank"))
    return denoiser._replace(adapters=Adapters(traced, rank, rank * per_rank, elements, bytes_each))


_PER_RANK = {ALL_LINEAR: "lora_per_rank_all", ALL_LINEAR_PLAIN: "lora_per_rank_all"}


def is_traced(denoiser: Denoiser, mode: str) -> bool:
    """Whether steps of this mode were traced."""
    return mode in denoiser.ways or f"{mode}+checkpointing" in denoiser.ways


def with_method(denoiser: Denoiser, method: str, rank: int | None, trained: int | None) -> Denoiser | None:
    """The denoiser frozen, behind one of peft's methods; None where it was not traced.

    ``trained`` parameters as the config counts them, else those of the traced settings at ``rank``.
    """
    data: dict[str, Any] | None = _data(denoiser).get("methods", {}).get(method)
    if data is None:
        return None
    traced, own = data["trainable"], data["rank"]
    elements = trained or (round(traced * rank / own) if rank and own else traced)
    adapters = Adapters(f"peft-{method}", rank or own or 0, elements, traced, 4, data["tables"])
    return denoiser._replace(adapters=adapters)


def block_parameters(denoiser: Denoiser) -> tuple[int, ...]:
    """Parameters of one block of each stack."""
    return tuple(each["parameters"] for each in _data(denoiser)["per_layer"].values())


def text_encoders(denoiser: Denoiser, bytes_each: float = 2) -> tuple[Beside, ...]:
    """The text encoders of the denoiser's pipeline, of ``bytes_each`` a weight."""
    known: dict[str, int] = _data(denoiser)["text_encoders"]
    return tuple(Beside(f"text encoder {name}", count, bytes_each) for name, count in known.items() if count)


def autoencoder(denoiser: Denoiser, bytes_each: float = 2) -> Beside:
    """The autoencoder of the denoiser's pipeline, of ``bytes_each`` a weight."""
    data = _data(denoiser)
    return Beside(f"VAE {data['vae']}", data["vae_parameters"], bytes_each)


def latent_frames(denoiser: Denoiser, frames: int) -> int:
    """Latent frames of a clip: the first one, and one for each ``stride`` further ones."""
    stride = _data(denoiser)["frames"]
    return (max(frames, 1) - 1) // stride + 1 if stride else 1


def pictures(denoiser: Denoiser) -> int:
    """Pictures that a sample puts through the denoiser: 2 where it edits one."""
    result: int = _data(denoiser).get("pictures", 1)
    return result


def is_video(denoiser: Denoiser) -> bool:
    """Whether the denoiser works on clips."""
    return bool(_data(denoiser)["frames"])


def _key(name: str) -> str:
    last = _SUFFIX.sub("", name.strip().rstrip("/").replace("\\", "/").rpartition("/")[2].lower())
    return re.sub(r"[^a-z0-9]+", "", last)


@lru_cache(maxsize=1)
def _lines() -> tuple[bytes, ...]:
    """The models' entries, a line each, which are read one by one."""
    with open(_DATA, "rb") as file:
        return tuple(line.rstrip(b",\n") for line in file if line.startswith(b'{"names"'))


@cache
def _entry(number: int) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(_lines()[number])
    return entry


@lru_cache(maxsize=1)
def _by_name() -> dict[str, int]:
    names = (json.loads(line[line.index(b"[") : line.index(b"]") + 1]) for line in _lines())
    return {_key(name): number for number, listed in enumerate(names) for name in listed}


def _data(denoiser: Denoiser) -> dict[str, Any]:
    return _entry(_by_name()[_key(denoiser.name)])


def _per_rank(denoiser: Denoiser, key: str) -> int:
    data = _data(denoiser)
    more = zip(denoiser.further, _beyond_traced(data), data["per_layer"].values(), strict=True)
    result: int = data[key] + sum((further - own) * each[key] for further, own, each in more)
    return result


def _traced(data: Mapping[str, Any]) -> dict[str, Any]:
    """The entry whose steps were traced: the model's own, or the one it has its blocks from."""
    return _entry(_by_name()[_key(data["like"])]) if "like" in data else dict(data)


def _beyond_traced(data: Mapping[str, Any]) -> tuple[int, ...]:
    """Blocks of each stack that the model has more than the traced one."""
    traced = _traced(data)["stacks"].values()
    return tuple(own - other for own, other in zip(data["stacks"].values(), traced, strict=True))


def _of_config(config: Mapping[str, Any]) -> Denoiser | None:
    """The catalogue's denoiser of the same class and sizes, with the config's number of blocks."""
    kind = str(config["_class_name"]).encode()
    for number, data in ((number, _entry(number)) for number, line in enumerate(_lines()) if kind in line):
        if data["kind"] != config["_class_name"] or not _alike(data["config"], config):
            continue
        counts = [config.get(stack, own) for stack, own in data["stacks"].items()]
        if not all(isinstance(count, int) and 1 <= count <= 1000 for count in counts):
            continue
        further = tuple(count - own for count, own in zip(counts, data["stacks"].values(), strict=True))
        return _deeper(_denoiser(number), data, further)
    return None


def _alike(own: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    return all(config.get(key, value) == value for key, value in own.items())


def _deeper(denoiser: Denoiser, data: Mapping[str, Any], further: tuple[int, ...]) -> Denoiser:
    more = list(zip(further, data["per_layer"].values(), strict=True))
    grown = {key: sum(count * each[key] for count, each in more) for key in ("parameters", "linear")}
    beyond = tuple(map(int.__add__, denoiser.further, further))
    return denoiser._replace(
        base=denoiser.base + grown["parameters"],
        linear=denoiser.linear + grown["linear"],
        further=beyond,
        blocks=tuple(map(int.__add__, denoiser.blocks, further)),
    )


@cache
def _denoiser(number: int) -> Denoiser:
    data = _entry(number)
    traced = _traced(data)
    built = ", ".join(f"{package} {version}" for package, version in traced["built_by"].items())
    blocks = f"blocks of {traced['names'][0]}, " if "like" in data else ""
    ways = dict(traced["variants"])
    for method, found in data.get("methods", {}).items():
        ways |= {f"peft-{method}{key}": way for key, way in found["variants"].items()}
    return Denoiser(
        data["names"][0],
        data["parameters"],
        {key: _way(value) for key, value in ways.items()},
        f"{blocks}{built}, {traced['date']}",
        data["linear"],
        data["largest"],
        further=_beyond_traced(data),
        blocks=tuple(data["stacks"].values()),
        buffers=data["buffers"],
    )


def _way(data: Mapping[str, Any]) -> Way:
    return Way(
        tuple(data["terms"]),
        _moments(data["fresh"]),
        _moments(data["kept"]),
        tuple(tuple(map(float, shift)) for shift in data.get("shifts", ())),
    )


def _moments(rows: list[list[Any]]) -> tuple[TracedMoment, ...]:
    return tuple(
        TracedMoment(str(row[0]), tuple(map(float, row[1])), int(row[2]), tuple(row[3] if len(row) > 3 else ()))
        for row in rows
    )
