"""Lengths of sources and targets, heads and frozen towers of scripts that train encoder-decoders and encoders.

The official examples cut both sides and pad each batch to its longest sample; whoever launches them without the flags
gets their defaults. Whisper takes clips of thirty seconds whatever is asked.

Sources: transformers 5.24.0, ``examples/pytorch/summarization/run_summarization.py`` and
``translation/run_translation.py`` (``max_source_length`` 1024, ``max_target_length`` 128, ``pad_to_max_length`` False),
``speech-recognition/run_speech_recognition_seq2seq.py`` (``freeze_encoder`` False); transformers 4 and 5
``Seq2SeqTrainer``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from vramlint.dialects.draft import Draft
from vramlint.dialects.model import Claim
from vramlint.dialects.places import Source, location
from vramlint.dialects.reading import plain_value
from vramlint.plan import Fact, Origin, derived
from vramlint.sources.model import Command

_EXAMPLES = re.compile(r"run_(summarization|translation)(_no_trainer)?\.py$")
_SOURCE_LENGTH, _TARGET_LENGTH = 1024, 128
_TEXT_EXAMPLES = {
    "run_glue.py": ("SequenceClassification", 128), "run_classification.py": ("SequenceClassification", 128),
    "run_qa.py": ("QuestionAnswering", 384), "run_ner.py": ("TokenClassification", 0), "run_mlm.py": ("MaskedLM", 0),
}  # fmt: skip
"""The head that an example trains, and where it cuts samples (``max_seq_length``), 0 where the tokenizer decides."""
_GENERATED = 20
"""Tokens that ``generate`` writes where nothing says how many (transformers 5.24 ``GenerationConfig.max_length``)."""
_EXAMPLE = "default of the official example script (transformers 5.24.0)"


def pair_lengths(draft: Draft, claim: Claim, sources: Sequence[Source]) -> None:
    """What flags or keys say of source and target; the examples' own defaults where a command leaves them out."""
    source, target = (_count(sources, f"max_{side}_length") for side in ("source", "target"))
    subject = claim.subject
    example = isinstance(subject, Command) and _EXAMPLES.search(posixpath.basename(subject.program)) is not None
    if example and source is None:
        source = Fact(_SOURCE_LENGTH, Origin.DEFAULT, None, _EXAMPLE)
    if example and target is None:
        target = Fact(_TARGET_LENGTH, Origin.DEFAULT, None, _EXAMPLE)
    if source is not None and not draft.plan.seq_len.known:
        draft.put("seq_len", source)
        padded = _switched(sources, "pad_to_max_length")
        if not padded:
            draft.put("packing", derived(value=False, note="batches are padded to their longest sample"))
    if target is not None:
        draft.put("decoder_seq_len", target)
    if isinstance(subject, Command):
        _text_example(draft, posixpath.basename(subject.program))
    if _switched(sources, "predict_with_generate"):
        _generation(draft, sources)
    if _switched(sources, "freeze_encoder"):
        draft.put("frozen_parts", derived(("encoder",), "freeze_encoder"))


def _generation(draft: Draft, sources: Sequence[Source]) -> None:
    """Evaluation writes texts: of so many samples, tokens and beams at a time (``Seq2SeqTrainer.prediction_step``)."""
    lengths = (
        _count(sources, name) for name in ("generation_max_length", "val_max_target_length", "max_target_length")
    )
    tokens = next((fact.value for fact in lengths if fact is not None), None) or _GENERATED
    beams = next(
        (fact.value for name in ("generation_num_beams", "num_beams") if (fact := _count(sources, name)) is not None), 1
    )
    samples = draft.plan.fact("eval_batch").value
    if isinstance(samples, int):
        draft.put("generation", derived((samples, tokens, beams), "predict_with_generate"))


def _text_example(draft: Draft, script: str) -> None:
    head, length = _TEXT_EXAMPLES.get(script, ("", 0))
    if head:
        draft.put("head", derived(head, script))
    if length and not draft.plan.seq_len.known:
        draft.put("seq_len", Fact(length, Origin.DEFAULT, None, _EXAMPLE))
        draft.put("packing", derived(value=True, note="padded to the limit (pad_to_max_length)"))


def _count(sources: Sequence[Source], name: str) -> Fact[int] | None:
    place = next((found for source in sources if (found := source.find(name)) is not None), None)
    if place is None:
        return None
    value = plain_value(place.node)
    count = int(value) if isinstance(value, (int, str)) and str(value).isdecimal() else 0
    return Fact(count, place.source.origin, location(place)) if count > 0 else None


def _switched(sources: Sequence[Source], name: str) -> bool:
    place = next((found for source in sources if (found := source.find(name)) is not None), None)
    return place is not None and str(plain_value(place.node)).lower() == "true"
