"""PEFT's methods beside LoRA: what each keeps for backward per adapted layer, and how much it trains.

Every row was traced with fake tensors (torch 2.13, transformers 5.24, peft 0.21.2) unless its source says otherwise:
``tools/check_adapters.py`` traces whole steps at two batch sizes, which the tests hold to 0.5 %. peft casts an
adapter's input to the adapter's fp32.
Where fake tensors cannot follow (values decide shapes), the saved tensors of a real step on the CPU were recorded
(``torch.autograd.graph.saved_tensors_hooks``), at two widths, two lengths and one layer more against one less.
"""

from __future__ import annotations

from typing import NamedTuple


class Method(NamedTuple):
    """One method's bytes, of an adapted linear layer.

    ``per_input`` and ``per_output``: bytes per token and element of the layer's input and output; ``per_rank``: per
    token and unit of rank; ``shared_input``: per token and element of each distinct input, where layers that read one
    tensor keep it once, and attention's output is kept by attention; ``per_narrow``: per token and element of the
    layer's narrower side, and ``per_narrow_square`` per its square, once; ``per_factor``: per element of the low-rank
    factors, rank x (input + output), once; ``per_weight``: per element of the layer's weight and ``per_square`` per
    squared input width, both once, whatever the batch (a weight change that is built whole); ``per_rank_square``: per
    squared rank and ``per_trained`` per trained parameter, ``per_width`` per element of
    the layer's input, all once. ``trains``: how to count what is trained:
    ``low-rank``, ``outputs``, ``prompt``, ``prefix``, ``norms``, ``tokens`` (rows of the embedding) or ``spelled``
    (only the config's own number says).
    """

    name: str
    per_input: float = 4
    per_output: float = 0
    per_rank: float = 0
    per_weight: float = 0
    per_square: float = 0
    per_narrow: float = 0
    per_narrow_square: float = 0
    per_factor: float = 0
    per_rank_square: float = 0
    per_trained: float = 0
    per_width: float = 0
    shared_input: float = 0
    trains: str = "low-rank"
    source: str = "traced, peft 0.21.2"


_BUILDS_WEIGHT = "traced, peft 0.21.2: the weight's change is built whole in fp32 and kept"
_RECORDED = "saved tensors of a real step, peft 0.21.2"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("dora", per_output=6, per_rank=4, source="traced, peft 0.21.2 tuners/lora/dora.py"),
        Method("adalora", per_output=4, per_rank=8),
        Method("c3a", trains="spelled"),
        Method("deft", per_output=4, per_rank=8),
        Method("deft-para", per_input=0, per_output=4, per_rank=4, trains="spelled"),
        Method("delora", per_rank=8),
        Method("gralora", per_rank=8),
        Method("lily", per_rank=4),
        Method("oft", per_trained=33.5, trains="spelled"),
        Method("psoft", per_input=0, per_rank=4, per_factor=4, per_rank_square=24, trains="spelled"),
        Method("vblora", per_rank=4, per_factor=12, trains="spelled", source=_RECORDED + ", two vectors a place"),
        Method("unilora", per_rank=4, per_factor=4, trains="spelled", source=_RECORDED),
        Method(
            "glora",
            per_input=0,
            shared_input=2,
            per_weight=2,
            trains="spelled",
            source="traced, peft 0.21.2: the weight in bf16",
        ),
        Method("peanut", per_weight=8, trains="spelled", source=_BUILDS_WEIGHT),
        Method("hira", per_weight=4, source=_BUILDS_WEIGHT),
        Method("loha", per_weight=4, source=_BUILDS_WEIGHT),
        Method("lokr", per_weight=4, trains="spelled", source=_BUILDS_WEIGHT),
        Method("fourierft", per_weight=4, trains="spelled", source=_BUILDS_WEIGHT),
        Method("waveft", per_weight=8, trains="spelled", source=_BUILDS_WEIGHT),
        Method("miss", per_input=0, per_rank=4, trains="spelled"),
        Method("miss-bat", per_weight=8, trains="spelled", source=_BUILDS_WEIGHT),
        Method("boft", per_input=0, shared_input=2, per_output=2, per_square=6, trains="spelled", source=_RECORDED),
        Method("road", per_input=0, per_output=8, trains="spelled"),
        Method("tinylora", per_input=0, trains="spelled"),
        Method("beft", per_input=0, trains="spelled"),
        Method("vera", per_input=0, per_output=4, per_rank=4, trains="outputs", source=_RECORDED),
        Method("pvera", per_input=0, per_output=4, per_rank=16, trains="outputs", source=_RECORDED),
        Method("randlora", per_input=0, per_narrow=4, per_narrow_square=4, trains="spelled", source=_RECORDED),
        Method(
            "shira",
            per_input=0,
            shared_input=2,
            per_weight=2,
            per_factor=20,
            trains="spelled",
            source=_RECORDED + ": the changed weight in bf16, indices and values of the sparse change",
        ),
        Method("osf", per_rank=8, per_factor=8, trains="spelled", source="traced, peft 0.21.2 tuners/osf/layer.py"),
        # One weight for each projection's values in 20 bytes, the diagonal's in 2 of them; z, and S made dense.
        Method(
            "frod",
            per_input=2,
            per_square=2,
            per_trained=20,
            per_width=-18,
            trains="spelled",
            source=_RECORDED,
        ),
        Method("adaption_prompt", per_input=0, trains="spelled", source="traced, peft 0.21.2 adaption_prompt/layer.py"),
        Method("ia3", per_input=0, per_output=2, trains="outputs"),
        Method("ln_tuning", per_input=0, trains="norms"),
        Method("prompt_tuning", per_input=0, trains="prompt"),
        Method("p_tuning", per_input=0, trains="prompt"),
        Method("prefix_tuning", per_input=0, trains="prefix"),
        Method("trainable_tokens", per_input=0, trains="tokens"),
    )
}
