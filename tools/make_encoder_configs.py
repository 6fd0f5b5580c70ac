"""Writes vramlint/memory/data/encoders.json: what a config.json must hold to be one of the traced text encoders.

A name, its sizes, and those of them that differ from the type's defaults, which a config.json may leave out.

Usage: python tools/make_encoder_configs.py. Needs transformers, whose defaults fill what the profiles' recipes
(``vramlint/trace/families/encoder_models.py``) do not say.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

from vramlint.memory.profile_catalogue import find_profile
from vramlint.trace.families.encoder_models import ENCODERS
from vramlint.trace.stand_ins import torchvision_schemas

TARGET = Path(__file__).parents[1] / "vramlint" / "memory" / "data" / "encoders.json"
SIZES = (
    "model_type", "vocab_size", "hidden_size", "d_model", "dim", "num_hidden_layers", "n_layers", "num_layers",
    "encoder_layers", "decoder_layers", "num_attention_heads", "n_heads", "num_heads", "encoder_attention_heads",
    "intermediate_size", "hidden_dim", "d_ff", "encoder_ffn_dim", "max_position_embeddings", "type_vocab_size",
    "position_buckets", "feed_forward_proj",
)  # fmt: skip
"""Keys that decide memory, of all the types."""


def main() -> int:
    torchvision_schemas()
    transformers = importlib.import_module("transformers")
    rows = []
    for name, encoder in ENCODERS.items():
        if find_profile(name) is None:
            continue
        config = transformers.AutoConfig.for_model(encoder.kind, **encoder.differs).to_dict()
        usual = transformers.AutoConfig.for_model(encoder.kind).to_dict()
        sizes = {key: config[key] for key in SIZES if config.get(key) is not None}
        spelled = [key for key, value in sizes.items() if usual.get(key) != value]
        rows.append(json.dumps([name, sizes, spelled], separators=(",", ":")))
    TARGET.write_text(f'{{"transformers":"{transformers.__version__}","models":[\n' + ",\n".join(rows) + "\n]}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
