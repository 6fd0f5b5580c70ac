"""Traces whole training steps behind every PEFT method and holds the formulas of ``adapters.METHODS`` against them.

Usage: python tools/check_adapters.py [--write] [METHOD ...]

Needs torch, transformers and peft. A small Llama in bfloat16 with the method's adapters on ``q_proj`` and ``v_proj``
(what PEFT's own comparison uses) runs two AdamW steps with fake tensors at two batch sizes; where fake tensors cannot
follow, values decide shapes, and the method is printed as not traced. ``--write`` stores the peaks in
``tests/memory/adapter_traces.json``, which the tests compare with the formulas where peft is not installed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from check_decoders import second_peak

from vramlint.memory.adapter import Adapter
from vramlint.memory.adapters import METHODS
from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.decoder import Decoder
from vramlint.memory.knowledge import Workload
from vramlint.plan import DecoderShape, Precision
from vramlint.trace.events import Shape
from vramlint.trace.stand_ins import torchvision_schemas
from vramlint.trace.tracer import Job, Options, record

RESULTS = Path(__file__).parent.parent / "tests" / "memory" / "adapter_traces.json"
SHAPES = ((4, 1024), (2, 512))
MIB = 2**20
SHAPE = DecoderShape(1024, 3, 16, 4, 64, 2816, 16000, tied=True)
QV = ("q_proj", "v_proj")


class Case(NamedTuple):
    """peft's config class and its arguments; the method's name here where it is not the table's key."""

    config: str
    arguments: dict[str, Any]
    rank: int = 8
    targets: tuple[str, ...] = QV
    virtual_tokens: int = 0


def _on_qv(config: str, rank: int = 8, **arguments: Any) -> Case:
    return Case(config, {"target_modules": list(QV), **arguments}, rank)


CASES: dict[str, Case] = {
    # Not BOFT: its step leaves reference cycles, which the tracer, with the collector off, takes for living tensors.
    "lora": _on_qv("LoraConfig", r=8),
    "dora": _on_qv("LoraConfig", r=8, use_dora=True),
    "adalora": _on_qv("AdaLoraConfig", init_r=8, target_r=8, total_step=1000, tinit=100, tfinal=500),
    "adamss": _on_qv("AdamssConfig", r=100),
    "adaption_prompt": Case("AdaptionPromptConfig", {"adapter_len": 10, "adapter_layers": 3}, virtual_tokens=10),
    "beft": Case("BeftConfig", {"target_modules": ["v_proj"]}, targets=("v_proj",)),
    "c3a": _on_qv("C3AConfig", block_size=64),
    "deft": _on_qv("DeftConfig", r=8),
    "deft-para": _on_qv("DeftConfig", r=8, para=True),
    "delora": _on_qv("DeloraConfig", r=8),
    "fourierft": _on_qv("FourierFTConfig", n_frequency=1000),
    "frod": _on_qv("FrodConfig"),
    "glora": _on_qv("GloraConfig"),
    "gralora": _on_qv("GraloraConfig", r=8, gralora_k=2),
    "hira": _on_qv("HiraConfig", r=8),
    "hra": _on_qv("HRAConfig", r=8),
    "ia3": Case(
        "IA3Config",
        {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
        targets=("k_proj", "v_proj", "down_proj"),
    ),
    "kasa": _on_qv("KasaConfig", r=8),
    "lily": _on_qv("LilyConfig", r=8),
    "ln_tuning": Case(
        "LNTuningConfig",
        {"target_modules": ["input_layernorm", "post_attention_layernorm", "norm"]},
        targets=(),
    ),
    "loha": _on_qv("LoHaConfig", r=8),
    "lokr": _on_qv("LoKrConfig", r=8),
    "miss": _on_qv("MissConfig", r=8),
    "miss-bat": _on_qv("MissConfig", r=8, init_weights="bat"),
    "oft": _on_qv("OFTConfig", r=0, oft_block_size=32),
    # What is trained is the rest of the rank: 64 of each layer.
    "osf": _on_qv("OSFConfig", 64, effective_rank=960, rank_pattern={"v_proj": 192}),
    "p_tuning": Case(
        "PromptEncoderConfig", {"num_virtual_tokens": 20, "task_type": "CAUSAL_LM"}, targets=(), virtual_tokens=20
    ),
    "peanut": _on_qv("PeanutConfig", r=8),
    "prefix_tuning": Case(
        "PrefixTuningConfig", {"num_virtual_tokens": 64, "task_type": "CAUSAL_LM"}, targets=(), virtual_tokens=64
    ),
    "prompt_tuning": Case(
        "PromptTuningConfig", {"num_virtual_tokens": 64, "task_type": "CAUSAL_LM"}, targets=(), virtual_tokens=64
    ),
    "psoft": _on_qv("PsoftConfig", 32, r=32),
    "pvera": _on_qv("PveraConfig", r=8),
    "randlora": _on_qv("RandLoraConfig", r=8),
    "road": _on_qv("RoadConfig", variant="road_1", group_size=64),
    "shira": _on_qv("ShiraConfig", r=8),
    "tinylora": _on_qv("TinyLoraConfig", 2, r=2),
    "trainable_tokens": Case(
        "TrainableTokensConfig", {"target_modules": "model.embed_tokens", "token_indices": [0, 1]}, targets=()
    ),
    "unilora": _on_qv("UniLoraConfig", r=8),
    "vblora": _on_qv("VBLoRAConfig", r=4, vector_length=64, num_vectors=90),
    "vera": _on_qv("VeraConfig", r=8),
    "waveft": _on_qv("WaveFTConfig", n_frequency=1000),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="methods to trace (default: all)")
    parser.add_argument("--write", action="store_true", help=f"store the traced peaks in {RESULTS.name}")
    arguments = parser.parse_args()
    torchvision_schemas()
    stored: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    print(f"{'method':<18} {'batch x length':<14} {'traced MiB':>10} {'formula':>10} {'error':>8}")
    for name in arguments.methods or CASES:
        found = _compared(name)
        if found:
            stored[name] = found
        if arguments.write:
            _write(stored)
    return 0


def _compared(name: str) -> dict[str, Any] | None:
    case = CASES[name]
    peaks: dict[str, float] = {}
    trained = 0
    for batch, length in SHAPES:
        try:
            peak, trained = traced(case, batch, length)
        except Exception as error:  # noqa: BLE001 - one method that cannot be traced must not stop the table
            print(f"{name:<18} not traced: {type(error).__name__}: {str(error)[:100]!r}", flush=True)
            return None
        peaks[f"{batch}x{length}"] = round(peak / MIB, 2)
        said = formula_mib(name, case, trained, batch, length)
        text = f"{said:10.1f} {said / (peak / MIB) - 1:+8.2%}" if said else "         -"
        print(f"{name:<18} {batch:>3} x {length:<8} {peak / MIB:10.1f} {text}", flush=True)
    return {
        "rank": case.rank,
        "targets": case.targets,
        "virtual_tokens": case.virtual_tokens,
        "trained": trained,
        "peaks_mib": peaks,
    }


def formula_mib(name: str, case: Case, trained: int, batch: int, length: int) -> float | None:
    """The closed form's worst moment with weights, gradients and AdamW's states (foreach), in MiB."""
    method = METHODS.get(name)
    if method is None and name != "lora":
        return None
    adapter = Adapter(
        case.rank, case.targets, 4, fused=True, method=method, trained=trained, virtual_tokens=case.virtual_tokens
    )
    decoder = Decoder(name, DecoderConfig(SHAPE), "test", adapter)
    moments = decoder.moments(Workload(batch, Precision.PURE_BF16, checkpointing=False, seq_len=length))
    frozen = 2 * (decoder.parameters - decoder.trainable + adapter.frozen_elements(decoder.config))
    states = frozen + 12 * decoder.trainable
    worst = max(states + moment.activation_bytes + 4 * moment.gradient_elements for moment in moments)
    return max(worst, frozen + 20 * decoder.trainable) / MIB


def traced(case: Case, batch: int, length: int) -> tuple[int, int]:
    """The second step's peak in bytes, and the number of trained parameters."""
    count: list[int] = []

    def job() -> Job:
        found = _job(case, batch, length)
        count.append(sum(each.numel() for each in found.model.parameters() if each.requires_grad))
        return found

    options = Options(dtype=None, evaluation=False)
    return second_peak(record(job, Shape(batch, seq_len=length), options)), count[0]


def _job(case: Case, batch: int, length: int) -> Job:
    import peft
    import transformers

    config = transformers.LlamaConfig(
        hidden_size=SHAPE.hidden, num_hidden_layers=SHAPE.layers, num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.kv_heads, intermediate_size=SHAPE.ffn, vocab_size=SHAPE.vocabulary,
        max_position_embeddings=4096, tie_word_embeddings=True, use_cache=False,
    )  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    finally:
        torch.set_default_dtype(torch.float32)
    model.tie_weights()  # fake parameters lose the tie while the model is built
    model = peft.get_peft_model(model, getattr(peft, case.config)(**case.arguments))

    def ids() -> torch.Tensor:
        return torch.zeros(batch, length, dtype=torch.long)

    def loss(model: Any, ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(input_ids=ids, labels=ids).loss
        return found

    return Job(model, ids, loss, None, lambda parameters: torch.optim.AdamW(parameters, lr=1e-4, foreach=True))


def _write(stored: dict[str, Any]) -> None:
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(found)}" for name, found in sorted(stored.items()))
    RESULTS.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    raise SystemExit(main())
