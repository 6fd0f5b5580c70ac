"""Lengths of sources and targets, 8-bit bases and frozen towers of scripts that train encoder-decoders."""

from __future__ import annotations

import pytest

from tests.dialects.support import reading
from vramlint.plan import TrainingPlan


def flags(words: str, script: str = "run_summarization.py") -> TrainingPlan:
    line = f"python {script} --model_name_or_path google-t5/t5-small --per_device_train_batch_size 4 --output_dir o"
    return reading("train.sh", f"{line} --num_train_epochs 3 {words}\n").plan


@pytest.mark.parametrize(
    ("words", "script", "lengths", "packing"),
    [
        ("", "run_summarization.py", (1024, 128), False),
        ("", "examples/pytorch/translation/run_translation.py", (1024, 128), False),
        ("--max_source_length 512", "run_summarization.py", (512, 128), False),
        ("--max_source_length=256 --max_target_length=64", "run_translation.py", (256, 64), False),
        ("--max_source_length 512 --pad_to_max_length True", "run_summarization.py", (512, 128), None),
        ("--max_source_length 512 --max_target_length 64", "train.py", (512, 64), False),
        ("", "train.py", (None, None), None),
        ("--max_source_length $LENGTH", "train.py", (None, None), None),
    ],
)
def test_flags(words: str, script: str, lengths: tuple[int | None, int | None], packing: bool | None) -> None:
    plan = flags(words, script)
    assert (plan.seq_len.value, plan.fact("decoder_seq_len").value) == lengths
    assert plan.fact("packing").value is packing


def test_keys_of_a_yaml() -> None:
    text = "model_name_or_path: google/flan-t5-large\nper_device_train_batch_size: 8\nnum_train_epochs: 3\n"
    plan = reading("flan.yaml", f"{text}max_source_length: 512\nmax_target_length: 96\n").plan
    assert (plan.seq_len.value, plan.fact("decoder_seq_len").value) == (512, 96)


@pytest.mark.parametrize(
    ("script", "head", "length"),
    [
        ("run_glue.py", "SequenceClassification", 128),
        ("run_qa.py", "QuestionAnswering", 384),
        ("run_ner.py", "TokenClassification", None),
        ("run_mlm.py", "MaskedLM", None),
        ("train.py", None, None),
    ],
)
def test_heads_of_the_examples(script: str, head: str | None, length: int | None) -> None:
    plan = flags("", script)
    assert (plan.fact("head").value, plan.seq_len.value) == (head, length)
    assert flags("--max_seq_length 256", script).seq_len.value == 256


@pytest.mark.parametrize(
    ("words", "generation"),
    [
        ("--predict_with_generate", (8, 128, 1)),
        ("--predict_with_generate --per_device_eval_batch_size 16 --num_beams 4", (16, 128, 4)),
        ("--predict_with_generate --generation_max_length 225 --per_device_eval_batch_size 4", (4, 225, 1)),
        ("--predict_with_generate False", None),
        ("", None),
    ],
)
def test_an_evaluation_that_generates(words: str, generation: tuple[int, int, int] | None) -> None:
    assert flags(f"--max_target_length 128 {words}").fact("generation").value == generation


def test_a_frozen_encoder() -> None:
    plan = flags("--freeze_encoder True", "run_speech_recognition_seq2seq.py")
    assert plan.fact("frozen_parts").value == ("encoder",)
    assert not flags("--freeze_encoder False", "run_speech_recognition_seq2seq.py").fact("frozen_parts").known


SCRIPT = """\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, Seq2SeqTrainer, Seq2SeqTrainingArguments
tokenizer = AutoTokenizer.from_pretrained("google/flan-t5-xl")
def preprocess(rows):
{tokenizing}
model = AutoModelForSeq2SeqLM.from_pretrained("google/flan-t5-xl"{loading})
args = Seq2SeqTrainingArguments(output_dir="o", per_device_train_batch_size=8, num_train_epochs=5)
trainer = Seq2SeqTrainer(model=model, args=args)
"""
ONE = '    inputs = tokenizer(rows["a"], max_length=512, truncation=True)\n'


@pytest.mark.parametrize(
    ("tokenizing", "lengths"),
    [
        (ONE, (512, None)),
        (ONE + '    labels = tokenizer(text_target=rows["b"], max_length=90, truncation=True)', (512, 90)),
        (ONE + '    labels = tokenizer(rows["b"], max_length=90, truncation=True)', (512, 90)),
        (ONE + '    with tokenizer.as_target_tokenizer():\n        x = tokenizer(rows["b"], max_length=64)', (512, 64)),
        (ONE + '    other = tokenizer(rows["b"], max_length=64)', (None, None)),
        ('    x = tokenizer(rows["a"], text_target=rows["b"], max_length=300)', (300, None)),
    ],
)
def test_calls_of_the_tokenizer(tokenizing: str, lengths: tuple[int | None, int | None]) -> None:
    plan = reading("train.py", SCRIPT.format(tokenizing=tokenizing, loading="")).plan
    assert (plan.seq_len.value, plan.fact("decoder_seq_len").value) == lengths


def test_a_base_in_eight_bits() -> None:
    text = SCRIPT.format(tokenizing=ONE, loading=", load_in_8bit=True")
    lora = 'model = get_peft_model(model, LoraConfig(r=16, target_modules=["q", "v"]))\n'
    plan = reading("train.py", text + lora).plan
    assert plan.fact("base_quantization").value == "int8"
    assert plan.fact("upcast_weights").value is False
    plan = reading("train.py", text + "model = prepare_model_for_kbit_training(model)\n" + lora).plan
    assert not plan.fact("upcast_weights").known


def test_a_call_that_freezes_the_encoder() -> None:
    plan = reading("train.py", SCRIPT.format(tokenizing=ONE, loading="") + "model.freeze_encoder()\n").plan
    assert plan.fact("frozen_parts").value == ("encoder",)


def test_a_superscript_is_no_number() -> None:
    plan = flags("--max_source_length ² --optim galore_adamw --optim_args rank=²", "train.py")
    assert not plan.seq_len.known
    assert not plan.fact("optimizer_rank").known
