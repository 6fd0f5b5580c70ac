"""What a script says about its model beside the call of ``TrainingArguments``: checkpoint, adapters, weights, length.

A script builds the model before it trains it: ``AutoModelForCausalLM.from_pretrained(...)`` names the checkpoint, the
dtype and the quantisation, ``LoraConfig(...)`` the adapters, and the tokenizer or the trainer cuts the samples. A fact
is taken where all such calls of the file agree, else it stays UNKNOWN.

Sources: transformers 5.23.0 ``modeling_utils.py#from_pretrained`` (dtype, quantization_config, attn_implementation)
and ``gradient_checkpointing_enable``; peft 0.21 ``tuners/lora/config.py`` (r = 8 by default) and
``utils/other.py#prepare_model_for_kbit_training`` (checkpointing on by default); TRL 0.12 ``SFTTrainer`` (lengths as
its own arguments; later ``SFTConfig`` has them).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from vramlint.dialects.draft import Draft
from vramlint.dialects.hf_vision import image_size_of_calls
from vramlint.dialects.places import Place, Source, location
from vramlint.dialects.reading import plain_value
from vramlint.plan import Fact, ImageSize, Origin, Precision, derived
from vramlint.sources.model import Definition, Document, Unknown

_LOADER = re.compile(
    r"(^|\.)(AutoModel\w*|\w+For(CausalLM|SequenceClassification|TokenClassification|QuestionAnswering|MaskedLM"
    r"|ConditionalGeneration|ImageClassification|(Semantic|Instance|Universal)Segmentation|ObjectDetection)|CLIPModel"
    r"|Fast\w*Model)\.from_pretrained$"
)
_IMAGES = re.compile(r"For(ImageClassification|(Semantic|Instance|Universal)Segmentation|ObjectDetection)")
_UNSLOTH = re.compile(r"(^|\.)Fast\w*Model\.(from_pretrained|get_peft_model)$")
_TRAINER = re.compile(r"(^|\.)\w*Trainer$")
_TOKENIZER = re.compile(r"(?i)(^|\.)(\w*tokenizer|tok|processor)(\.__call__)?$")
_HALF = {"bfloat16": Precision.PURE_BF16, "float16": Precision.PURE_FP16}
_LORA_RANK = 8
_SIZE = re.compile(r"-(\d{3})(?=-|$)")
"""``google/vit-base-patch16-224-in21k``: the input size in the name of a vision checkpoint."""


def script_facts(draft: Draft, document: Document) -> None:
    """Facts of the model and its samples that the file's other calls spell and nothing has set yet."""
    calls = [_Call(document, definition) for definition in document.definitions if definition.kind == "call"]
    loaders = [call for call in calls if call.matches(_LOADER)]
    _model(draft, calls, loaders)
    _weights(draft, loaders)
    _adapters(draft, calls, loaders)
    _length(draft, calls)
    _checkpointing(draft, calls)
    _kernel(draft, loaders)
    _metrics(draft, calls)
    _engine(draft, loaders)
    _frozen(draft, calls)


class _Call:
    """A call of the script, whose arguments are looked up by name or position."""

    def __init__(self, document: Document, definition: Definition) -> None:
        self.name = definition.name
        self.source = Source(document, definition.members)

    def matches(self, pattern: re.Pattern[str]) -> bool:
        return pattern.search(self.name) is not None

    def ends(self, *names: str) -> bool:
        return self.name.rsplit(".", 1)[-1] in names

    def place(self, *names: str) -> Place | None:
        return next((found for name in names if (found := self.source.find(name)) is not None), None)


def _value(place: Place) -> object:
    """A constant; of a name such as ``torch.bfloat16`` its last word."""
    if isinstance(place.node, Unknown):
        return place.node.text.rsplit(".", 1)[-1] if place.node.text.startswith("torch.") else None
    return plain_value(place.node)


def _agreed(calls: Iterable[_Call], *names: str) -> Fact[object] | None:
    """What all ``calls`` that have one of the arguments give it; None where none has, or they differ."""
    places = [place for call in calls if (place := call.place(*names)) is not None]
    values = [_value(place) for place in places]
    if not places or values[0] is None or any(value != values[0] for value in values):
        return None
    return Fact(values[0], Origin.FILE, location(places[0]))


def _model(draft: Draft, calls: list[_Call], loaders: list[_Call]) -> None:
    if draft.plan.model.known:
        return
    trainers = [call for call in calls if call.matches(_TRAINER)]
    found = _agreed(loaders, "pretrained_model_name_or_path", "model_name", "0") or _agreed(trainers, "model", "0")
    if found is None or not isinstance(found.value, str):
        return
    if any(call.matches(_UNSLOTH) for call in loaders):
        draft.put("implementation", derived("unsloth", "its loader puts its own kernels in"))
    draft.put("model", Fact(found.value, found.origin, found.location))
    kinds = {call.name.split(".")[-2] for call in loaders}
    if any(map(_IMAGES.search, kinds)) and not draft.plan.image_size.known:
        image_size_of_calls(draft, draft.document)
    heads = {kind.partition("For")[2] for kind in kinds} - {""}
    if len(heads) == 1:
        draft.put("head", derived(next(iter(heads)), "the class that is loaded"))
    size = _SIZE.search(found.value)
    if size is not None and any("ImageClassification" in kind for kind in kinds) and not draft.plan.image_size.known:
        side = int(size[1])
        draft.put("image_size", derived(ImageSize(side, side), "the checkpoint's size, to which its processor resizes"))
    if not loaders or any("CausalLM" in kind or kind.startswith("Fast") for kind in kinds):
        draft.put("task", derived("causal-lm", "a language model is trained"))


def _weights(draft: Draft, loaders: list[_Call]) -> None:
    """Weights that are loaded in 16 bits are held so: ``bf16=True`` keeps no fp32 copy of them."""
    if loaders and all(call.place("torch_dtype", "dtype", "quantization_config") is None for call in loaders):
        draft.put("weights_as_saved", derived(value=True, note="from_pretrained is given no dtype"))
    dtype = _agreed(loaders, "torch_dtype", "dtype")
    if dtype is not None and dtype.value == "auto":
        draft.put("weights_as_saved", Fact(value=True, origin=Origin.FILE, location=dtype.location))
    held = _HALF.get(str(dtype.value)) if dtype is not None else None
    if dtype is None or held is None:
        return
    computes = draft.plan.precision.value
    if computes is Precision.FP32 or (computes is Precision.BF16 and held is Precision.PURE_BF16):
        draft.put("precision", Fact(held, Origin.FILE, dtype.location, f"weights are loaded in {dtype.value}"))
        draft.slots.pop("precision", None)


def _adapters(draft: Draft, calls: list[_Call], loaders: list[_Call]) -> None:
    configs = [call for call in calls if call.ends("LoraConfig") or call.name.endswith("Model.get_peft_model")]
    if draft.plan.adapter.known or not configs:
        return
    in_four_bits = [call for call in calls if call.ends("BitsAndBytesConfig")]
    four = _agreed([*in_four_bits, *loaders], "load_in_4bit")
    is_unsloth = any(call.matches(_UNSLOTH) for call in loaders)
    quantised = bool(four.value) if four is not None else is_unsloth
    draft.put(
        "adapter", derived("qlora" if quantised else "lora", "LoraConfig" if not is_unsloth else "get_peft_model")
    )
    eight = _agreed([*in_four_bits, *loaders], "load_in_8bit")
    if eight is not None and eight.value is True:
        draft.put("base_quantization", Fact("int8", eight.origin, eight.location, "load_in_8bit"))
    if not any(call.ends("prepare_model_for_kbit_training") for call in calls):
        draft.put("upcast_weights", derived(value=False, note="prepare_model_for_kbit_training is not called"))
    double = _agreed(in_four_bits, "bnb_4bit_use_double_quant")
    if double is not None:
        draft.put("double_quantization", double)
    rank = _agreed(configs, "r")
    if rank is not None:
        draft.put("adapter_rank", rank)
    elif all(call.place("r") is None for call in configs):
        draft.put(
            "adapter_rank", Fact(16 if is_unsloth else _LORA_RANK, Origin.DEFAULT, None, "default of the adapter")
        )
    for fact, name in (("adapter_targets", "target_modules"), ("adapter_dropout", "lora_dropout")):
        found = _agreed(configs, name)
        if found is not None:
            draft.put(fact, found)


def _length(draft: Draft, calls: list[_Call]) -> None:
    """Where samples are cut: by the trainer, by unsloth's loader, or where the tokenizer is called."""
    if draft.plan.seq_len.known:
        return
    trainers = [call for call in calls if call.matches(_TRAINER) or call.matches(_UNSLOTH)]
    tokenizers = [call for call in calls if call.matches(_TOKENIZER)]
    found = _agreed(trainers, "max_seq_length", "max_length")
    if found is None:
        tokenizers, targets = _by_side(draft.document, tokenizers)
        target = _agreed(targets, "max_length")
        if target is not None and isinstance(target.value, int):
            draft.put("decoder_seq_len", Fact(target.value, target.origin, target.location))
        found = _agreed(tokenizers, "max_length")
        if found is not None and _pads_to_the_longest(draft.document, tokenizers):
            draft.put("packing", derived(value=False, note="the tokenizer cuts, and a batch is padded to its longest"))
    if found is not None and isinstance(found.value, int) and found.value > 0:
        draft.put("seq_len", Fact(found.value, found.origin, found.location))


def _by_side(document: Document, calls: list[_Call]) -> tuple[list[_Call], list[_Call]]:
    """Calls of the tokenizer on sources, and those on targets: ``text_target=...``, or the last of two where labels
    are made by a call of their own."""
    targets = [call for call in calls if call.place("text_target") is not None and call.place("text", "0") is None]
    if targets:
        return [call for call in calls if call not in targets], targets
    cut = [call for call in calls if call.place("max_length") is not None]
    if len(cut) == _SIDES and _LABELS_CALL.search(document.text):
        return [call for call in calls if call is not cut[1]], cut[1:]
    return calls, []


_SIDES = 2
_LABELS_CALL = re.compile(r"as_target_tokenizer|(?i:labels|targets?)\w*\s*=\s*\w*tokenizer\(")


def _pads_to_the_longest(document: Document, tokenizers: list[_Call]) -> bool:
    """No sample is padded to the limit, and none is joined with others (``group_texts`` of the official examples)."""
    padded = any((place := call.place("padding")) and _value(place) == "max_length" for call in tokenizers)
    return not padded and "group_texts" not in document.text and "ConstantLengthDataset" not in document.text


def _checkpointing(draft: Draft, calls: list[_Call]) -> None:
    if draft.plan.grad_checkpointing.spelled:
        return
    for call in _switches(calls):
        draft.put("grad_checkpointing", derived(value=True, note=call))
        return


def _switches(calls: list[_Call]) -> Iterator[str]:
    for call in calls:
        if call.ends("gradient_checkpointing_enable"):
            yield "gradient_checkpointing_enable()"
        if call.ends("prepare_model_for_kbit_training"):
            place = call.place("use_gradient_checkpointing", "1")
            if place is None or _value(place) is True:
                yield "prepare_model_for_kbit_training() switches it on"
        if call.matches(_UNSLOTH) and call.ends("get_peft_model"):
            place = call.place("use_gradient_checkpointing")
            if place is not None and _value(place) in (True, "unsloth"):
                yield f"use_gradient_checkpointing = {_value(place)}"


def _frozen(draft: Draft, calls: list[_Call]) -> None:
    """``model.freeze_encoder()`` of Whisper, ``freeze_feature_encoder()`` of wav2vec2."""
    found = [call for call in calls if call.ends("freeze_encoder", "freeze_feature_encoder")]
    if found:
        parts = tuple(dict.fromkeys(call.name.rsplit(".", 1)[-1].removeprefix("freeze_") for call in found))
        draft.put("frozen_parts", derived(parts, f"{found[0].name}()"))


def _kernel(draft: Draft, loaders: list[_Call]) -> None:
    found = _agreed(loaders, "attn_implementation")
    if found is not None and not draft.plan.fact("attention").known:
        draft.put("attention", Fact(str(found.value).lower(), found.origin, found.location))


def _metrics(draft: Draft, calls: list[_Call]) -> None:
    """A trainer that computes metrics keeps the logits of all samples, unless it reduces them first (transformers 5.24
    ``trainer.py#evaluation_loop``)."""
    trainers = [call for call in calls if call.matches(_TRAINER)]
    if any(call.place("compute_metrics") and not call.place("preprocess_logits_for_metrics") for call in trainers):
        draft.put("keeps_eval_logits", derived(value=True, note="compute_metrics is given"))


def _engine(draft: Draft, loaders: list[_Call]) -> None:
    """unsloth's loader starts vLLM where it is told to (unsloth 2026.10.9 ``models/loader.py``, ``fast_inference``)."""
    found = _agreed([call for call in loaders if call.matches(_UNSLOTH)], "fast_inference")
    if found is not None and found.value is True:
        draft.put("fast_inference", found)
