"""Models of transformers by their architecture, built from a config and never downloaded.

``transformers/bert`` takes the type's default config, ``transformers/./my-model`` the ``config.json`` of a folder,
``transformers/llama-3.1-8b`` the shape of a decoder that vramlint knows by name. ``+lora16`` after any of them adds
adapters of that rank to all linear layers (needs peft). Text models are trained on token sequences with the loss of
their own head; segmentation models on images with a label map.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import Any

import torch
from torch import nn

from vramlint.errors import TraceError
from vramlint.memory.catalogue import find_decoder
from vramlint.trace.events import Shape
from vramlint.trace.families.images import images
from vramlint.trace.families.user_models import TOKEN_SHAPES
from vramlint.trace.pairing import TOKEN_TERMS
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.targets import Target, UnknownModel
from vramlint.trace.tracer import Job

_ADAPTERS = re.compile(r"(.*)\+lora(\d+)")

_TEXT_CLASSES = ("AutoModelForMaskedLM", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM")
_CONFIRM = (Shape(5, seq_len=160),)


def find(name: str) -> Target:
    """The model ``name``. Raises UnknownModel where transformers has no such type, TraceError without peft."""
    torchvision_schemas()
    adapters = _ADAPTERS.fullmatch(name)
    base, rank = (adapters[1], int(adapters[2])) if adapters else (name, 0)
    transformers = importlib.import_module("transformers")
    config = _config(transformers, base)
    packages: tuple[str, ...] = ("transformers", "torch")
    if rank:
        packages = ("transformers", "peft", "torch")
        if importlib.util.find_spec("peft") is None:
            raise TraceError("adapters need peft", help="Install it with: pip install peft")
    words = f"LoRA of rank {rank} on all linear layers, base weights as they are" if rank else "its own loss"
    key = base.rstrip("/").rpartition("/")[2] + (f"_lora{rank}" if rank else "")
    for kind in _TEXT_CLASSES:
        if _knows(transformers, kind, config):
            return _text(transformers, kind, config, key, rank, packages, (words, "every token has a label"))
    if _knows(transformers, "AutoModelForSemanticSegmentation", config):
        return _segmentation(transformers, config, key, packages)
    raise UnknownModel(f"transformers trains no text and no segmentation with a {config.model_type}")


def _config(transformers: Any, name: str) -> Any:
    if os.path.isfile(os.path.join(name, "config.json")):
        return transformers.AutoConfig.from_pretrained(name, local_files_only=True)
    try:
        return transformers.AutoConfig.for_model(name)
    except ValueError:
        found = _llama(transformers, name)
    if found is None:
        raise UnknownModel(f"transformers {transformers.__version__} has no model type {name!r}")
    return found


def _llama(transformers: Any, name: str) -> Any:
    """The config of a decoder known by name, where Llama's architecture is all it takes."""
    decoder = find_decoder(name)
    if decoder is None:
        return None
    shape = decoder.config.shape
    config = transformers.LlamaConfig(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.ffn,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=131072,
    )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return config if parameters == decoder.config.parameters else None


def _knows(transformers: Any, kind: str, config: Any) -> bool:
    return type(config) in getattr(transformers, kind)._model_mapping


def _built(transformers: Any, kind: str, config: Any, rank: int, *, checkpointing: bool) -> nn.Module:
    config.use_cache = False
    model = getattr(transformers, kind).from_config(config)
    model.tie_weights()  # transformers 5 leaves it to the initialisation, which a trace skips
    if checkpointing:
        model.gradient_checkpointing_enable()
    if rank:
        peft = importlib.import_module("peft")
        if checkpointing:
            model.enable_input_require_grads()
        model = peft.get_peft_model(model, peft.LoraConfig(r=rank, target_modules="all-linear"))
    result: nn.Module = model
    return result


def _text(
    transformers: Any,
    kind: str,
    config: Any,
    name: str,
    rank: int,
    packages: tuple[str, ...],
    assumptions: tuple[str, ...],
) -> Target:
    def make(shape: Shape, checkpointing: bool) -> Job:
        model = _built(transformers, kind, config, rank, checkpointing=checkpointing)
        return Job(model, lambda: _tokens(shape), _own_loss, _logits)

    return Target(
        name, make, packages, assumptions, has_checkpointing=True, terms=TOKEN_TERMS, shapes=TOKEN_SHAPES,
        confirm=_CONFIRM,
    )  # fmt: skip


def _tokens(shape: Shape) -> dict[str, torch.Tensor]:
    ids = torch.zeros(shape.batch, shape.seq_len, dtype=torch.int64)
    return {"input_ids": ids, "labels": torch.zeros_like(ids)}


def _own_loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    loss: torch.Tensor = model(**batch).loss
    return loss


def _logits(model: nn.Module, batch: dict[str, torch.Tensor]) -> Any:
    return model(**{key: value for key, value in batch.items() if key != "labels"}).logits


def _segmentation(transformers: Any, config: Any, name: str, packages: tuple[str, ...]) -> Target:
    config.num_labels = 150
    kind = "AutoModelForSemanticSegmentation"

    def make(shape: Shape, checkpointing: bool) -> Job:
        model = _built(transformers, kind, config, 0, checkpointing=checkpointing)
        return Job(model, lambda: _mapped(shape), _own_loss, _logits)

    return Target(name, make, packages, ("150 classes, its own loss",), has_checkpointing=True)


def _mapped(shape: Shape) -> dict[str, torch.Tensor]:
    labels = torch.zeros(shape.batch, shape.height, shape.width, dtype=torch.int64)
    return {"pixel_values": images(shape), "labels": labels}
