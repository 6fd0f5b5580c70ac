"""bf16 on a card without bf16 arithmetic.

Why: bf16 needs compute capability 8.0 (Ampere). On older cards trainers refuse to start (Hugging Face) or PyTorch
emulates it, slower than fp32. AMP on Volta and Turing means fp16 with loss scaling.

Example: ``bf16: true`` on a T4 (compute capability 7.5).

Fix safety: safe for autocast on a vision model, where the framework's own key brings loss scaling; unsafe for
language models and bf16 weights: fp16 overflows where bf16 does not.

Sources: CUDA C++ Programming Guide, "Arithmetic Instructions" (bf16 from 8.0); transformers 5.23.0
``utils/import_utils.py`` (``is_torch_bf16_gpu_available``).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Change, Confidence, Precision, Repair, RuleInfo, Run, Safety, Severity, Verdict

RULE = RuleInfo(
    code="VL501",
    name="bf16-unsupported",
    summary="bf16 on a card without bf16 arithmetic",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    fix=Safety.SAFE,
    sources=(
        "https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#arithmetic-instructions",
        "https://pytorch.org/docs/stable/amp.html",
    ),
)

_CONFIG = """\
model:
  name: resnet50
trainer:
  epochs: 10
  lr: 1.0e-4
  mixed_precision: {}
dataset:
  image_size: 224
  batch_size: 8
"""
VALID = (
    Case("config.yml", _CONFIG.format("bf16"), gpu="a100-40gb"),
    Case("config.yml", _CONFIG.format("fp16"), gpu="t4"),
)
INVALID = (
    Case("config.yml", _CONFIG.format("bf16"), gpu="t4", fixed=_CONFIG.format("fp16")),
    Case("config.yml", _CONFIG.format('"bf16"  # amp'), gpu="gtx1650ti-4gb", fixed=_CONFIG.format('"fp16"  # amp')),
)


def check(run: Run) -> Iterator[Verdict]:
    """Compare the precision with the compute capability of the card."""
    gpu, precision = run.target.gpu, run.plan.precision
    if gpu is None or gpu.has_bf16 or precision.value not in (Precision.BF16, Precision.PURE_BF16):
        return
    capability = ".".join(map(str, gpu.capability))
    yield Verdict(
        "precision",
        f"{gpu.name} has no bf16 (compute capability {capability}, bf16 needs 8.0): the trainer refuses it, or it is "
        "emulated and slower than fp32",
        label=f"no bf16 on {gpu.name}",
        help="Use fp16 with loss scaling" if gpu.has_fast_fp16 else "Use fp32",
        repairs=tuple(_repairs(run)),
    )


def _repairs(run: Run) -> Iterator[Repair]:
    plan, gpu = run.plan, run.target.gpu
    if gpu is None or not gpu.has_fast_fp16 or not run.editable("precision"):
        return
    is_language = plan.seq_len.value is not None or plan.model_shape.value is not None
    autocast = plan.precision.value is Precision.BF16
    safety = Safety.SAFE if autocast and not is_language else Safety.UNSAFE
    change = Change("precision", Precision.FP16)
    yield Repair(f"use fp16 ({run.spelling('precision')})", safety, (change,))
