"""What preference, reward, reinforcement and distillation trainers hold beside a plain fine-tuning step.

``bytes_fp32`` and ``bytes_16``: bytes alive per logit at the worst moment of the loss, where the model's output comes
in fp32 and in 16 bits. Traced on TRL 0.24's functions alone (``tools/check_losses.py``; tests take the traces again).
Which it is: accelerate hands outputs of a model under ``bf16`` or ``fp16`` over in fp32 (1.15
``utils/operations.py#convert_outputs_to_fp32``); DeepSpeed's engine leaves them in 16 bits.
"""

from __future__ import annotations

from typing import NamedTuple

from vramlint.memory.implementations import Loss


class Objective(NamedTuple):
    """One kind of trainer.

    ``sequences``: of a sample, run as one batch; ``reference``: a frozen copy of the model is compared with, unless the
    plan says otherwise (behind adapters, the model without them); ``tiled``: the newest TRL works out its loss a tile
    of tokens at a time; ``scores``: a head of one number a token takes the vocabulary's place.
    """

    says: str
    bytes_fp32: float
    bytes_16: float
    sequences: int = 1
    reference: bool = False
    tiled: bool = False
    scores: bool = False

    @property
    def in_fp32(self) -> Loss:
        return Loss(0, self.bytes_fp32 / 4, 0, self.bytes_fp32 / 4)

    @property
    def in_16_bits(self) -> Loss:
        return Loss(self.bytes_16 / 2, 0, self.bytes_16 / 2, 0)


_DPO = Objective("DPO: chosen and rejected in one batch", 16.1, 5.1, sequences=2, reference=True, tiled=True)
_KTO = Objective("KTO: single answers, logits kept for their means", 16.1, 8.1, reference=True, tiled=True)
_ORPO = Objective("ORPO and CPO: pairs in one batch and a cross entropy, no reference", 18.1, 5.1, sequences=2)
_GRPO = Objective("GRPO: log-probabilities of completions, over the temperature", 16.1, 4.8, tiled=True)
_REWARD = Objective("a reward model: pairs in one batch, one number a token", 0, 0, sequences=2, scores=True)

OBJECTIVES: dict[str, Objective] = {
    **dict.fromkeys(("dpo", "ipo"), _DPO),
    "kto": _KTO,
    "bco": _KTO._replace(says="BCO: single answers, logits kept for their means", tiled=False),
    **dict.fromkeys(("orpo", "cpo", "simpo"), _ORPO),
    "grpo": _GRPO,
    "rloo": _GRPO._replace(says="RLOO: log-probabilities of completions, over the temperature", reference=True),
    **dict.fromkeys(("reward", "rm"), _REWARD),
    "prm": _REWARD._replace(says="a process reward model: one number a token", sequences=1),
    "gkd": Objective("GKD: Jensen-Shannon divergence over the whole vocabulary, beside a teacher", 67.9, 34.0),
    "verl": Objective("verl's actor: log-probabilities by flash-attn, in place, over the temperature", 8.1, 8.1),
    "verl with entropy": Objective("verl's actor with entropy: its softmax in fp32", 28.1, 28.1),
    "llamafactory dpo": Objective(
        "DPO of LLaMA-Factory: pairs, fp32 logits kept beside their log-softmax",
        16.1,
        16.1,
        sequences=2,
        reference=True,
    ),
    "llamafactory orpo": Objective("ORPO or SimPO of LLaMA-Factory: pairs, no reference", 12.1, 12.1, sequences=2),
    "llamafactory kto": Objective(
        "KTO of LLaMA-Factory: single answers, logits of chosen and rejected picked out", 20.1, 20.1, reference=True
    ),
    "llamafactory rm": Objective(
        "a reward model of LLaMA-Factory: pairs, logits made and dropped, a value a token", 6, 6, sequences=2
    ),
}
"""By the word that trainers and dialects have for them."""
