"""Decoders by name and by config.json."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlint.memory.catalogue import NamedDecoder, decoder_from_config, decoders, find_decoder, find_related
from vramlint.memory.local_vision import local_vision
from vramlint.memory.towers import tower_from_config

DATA = Path(__file__).parents[2] / "vramlint" / "memory" / "data"

NAMES = [
    ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
    ("unsloth/llama-3-8b-bnb-4bit", "meta-llama/Meta-Llama-3-8B"),
    ("unsloth/Qwen2.5-7B-Instruct-unsloth-bnb-4bit", "Qwen/Qwen2.5-7B-Instruct"),
    ("NousResearch/Meta-Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
    ("/models/Llama-3.1-8B/", "meta-llama/Llama-3.1-8B"),
    ("meta-llama/Llama-2-7b", "meta-llama/Llama-2-7b-hf"),
    ("mistralai/Mistral-7B-Instruct-v0.3", "mistralai/Mistral-7B-Instruct-v0.3"),
    ("google/gemma-2-9b-it", "google/gemma-2-9b-it"),
    ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
    ("Llama 3.2 3B", "meta-llama/Llama-3.2-3B"),
    ("llama3_1_8b", "meta-llama/Llama-3.1-8B"),
    ("meta-llama/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
    ("mlx-community/Qwen3-8B-4bit", "Qwen/Qwen3-8B"),
    ("unsloth/Qwen3-30B-A3B-FP8", "Qwen/Qwen3-30B-A3B"),
    ("unsloth/gpt-oss-20b-unsloth-bnb-4bit", "openai/gpt-oss-20b"),
    ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"),
    ("deepseek-ai/DeepSeek-V3-Base", "deepseek-ai/DeepSeek-V3"),
    ("unsloth/Qwen2.5-VL-7B-Instruct-bnb-4bit", "Qwen/Qwen2.5-VL-7B-Instruct"),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
    ("~/.cache/huggingface/hub/models--Qwen--Qwen2.5-7B/snapshots/0a1b2c", "Qwen/Qwen2.5-7B"),
    ("gpt2", "openai-community/gpt2"),
]

NEAR_MISSES = [
    "Qwen/Qwen2-57B",  # with the digits run together it would read as Qwen2.5-7B
    "Qwen/Qwen2-57B-A14B",
    "meta-llama/Llama-3.2-11B",
    "meta-llama/Llama-3.2-11B-Vision-Instruct",
    "meta-llama/Llama-3.1-80B",
    "nvidia/Llama-3.1-Minitron-4B-Width-Base",
    "nvidia/Llama-3.1-Nemotron-Nano-4B-v1.1",
    "deepseek-ai/DeepSeek-R1-Distill-Foo-8B",
    "someone/Llama-3.1-8B-pruned-to-6B",
    "Qwen/Qwen3-8B-Embedding",
    "Qwen/Qwen2.5-VL-8B-Instruct",
    "google/gemma-3n-E4B-it",
    "Qwen3-30B",
    "gpt2-huge",
    "llama-3",
    "distilgpt3",
]


@pytest.mark.parametrize(("written", "meant"), NAMES)
def test_names_as_people_write_them(written: str, meant: str) -> None:
    found = find_decoder(written)
    assert found is not None
    assert found.name == meant


@pytest.mark.parametrize("name", ["resnet50", "", "my-company/secret-model", "llama", *NEAR_MISSES])
def test_what_is_not_in_the_catalogue(name: str) -> None:
    assert find_decoder(name) is None


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("mistral-7b", "mistralai/Mistral-7B-v0.1"),  # v0.3 has 768 tokens more: 0.1 % of the parameters
        ("Mixtral 8x7B", "mistralai/Mixtral-8x7B-v0.1"),
        ("phi3_mini", "microsoft/Phi-3-mini-4k-instruct"),
        ("huggyllama/llama-7b", "huggyllama/llama-7b"),
        ("hugging-quants/Meta-Llama-3.1-405B-BNB-NF4-BF16", "meta-llama/Meta-Llama-3.1-405B"),
    ],
)
def test_names_without_a_version(name: str, entry: str) -> None:
    found = find_decoder(name)
    assert found is not None
    assert found.name == entry


def test_the_catalogue() -> None:
    entries = decoders()
    assert len(entries) >= 200
    for entry in entries:
        shape = entry.config.shape
        assert shape.heads % shape.kv_heads == 0, entry.name
        found = find_decoder(entry.name)
        assert found is not None
        # Several hubs hold one checkpoint (Llama-3.1-8B and Meta-Llama-3.1-8B): any of them will do.
        assert (found.config, found.tower) == (entry.config, entry.tower), entry.name


def test_parameters_agree_with_the_size_in_the_name() -> None:
    """A wrong tie of the embeddings or a wrong width would show."""
    for entry in decoders():
        if entry.config.experts:  # whose names count one expert, or what is active
            continue
        stated = re.search(r"-(\d+(?:\.\d+)?)([bm])(?:-|$)", entry.name.lower())
        # Falcon3-1B has 1.67 B, MiniCPM-2B 2.4 B without its embedding
        if stated is None or "Falcon3-1B" in entry.name or "MiniCPM-2B" in entry.name:
            continue
        size = float(stated[1]) * {"b": 1e9, "m": 1e6}[stated[2]]
        # LLaVA-OneVision's 0.5b is its text model's
        counted = entry.config.parameters if "onevision" in entry.name else entry.parameters
        assert 0.8 * size < counted < 1.35 * size, entry.name


LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
}


def test_parameter_counts_equal_the_models_on_meta() -> None:
    """Every entry against transformers' model of it, counted by tools/count_parameters.py."""
    document = json.loads((Path(__file__).parents[1] / "data" / "parameter_counts.json").read_text())
    found = {
        entry.name: [entry.config.parameters, entry.tower.parameters if entry.tower else 0] for entry in decoders()
    }
    assert found == document["counts"]


MIXTURES = ["openai/gpt-oss-20b", "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V3", "mistralai/Mixtral-8x7B-v0.1"]


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_of_experts_are_known(name: str) -> None:
    found = find_decoder(name)
    assert found is not None
    assert found.config.experts is not None


def test_every_entry_says_where_it_was_read() -> None:
    assert all(entry.source for entry in decoders())


def test_a_change_of_a_number_in_a_name_never_finds_the_same_entry() -> None:
    """Property over the catalogue: another number is another size or version, or nothing."""
    for entry in decoders():
        for match in re.finditer(r"\d+", entry.name.rpartition("/")[2]):
            last = entry.name.rpartition("/")[2]
            other = f"{last[: match.start()]}{int(match[0]) + 1}{last[match.end() :]}"
            found = find_decoder(other)
            assert found is None or found.name != entry.name, other


def test_a_local_config_json() -> None:
    config = decoder_from_config(LLAMA)
    assert config is not None
    assert config.parameters == 8_030_261_248


def test_defaults_of_a_model_type() -> None:
    untied = {key: value for key, value in LLAMA.items() if key != "tie_word_embeddings"}
    qwen = decoder_from_config({**LLAMA, "model_type": "qwen2"})
    gemma = decoder_from_config({**untied, "model_type": "gemma2"})
    assert qwen is not None
    assert gemma is not None
    assert qwen.shape.qkv_bias
    assert gemma.shape.tied
    assert gemma.soft_capped
    assert gemma.norms_per_layer == 4


@pytest.mark.parametrize(
    "change", [{"model_type": "mixtral"}, {"hidden_size": "4096"}, {"hidden_size": 0}, {"vocab_size": None}]
)
def test_a_config_that_is_not_understood_gives_nothing(change: dict[str, object]) -> None:
    assert decoder_from_config({**LLAMA, **change}) is None


@given(st.text(max_size=60))
def test_any_text_is_a_decoder_or_nothing(text: str) -> None:
    found = find_decoder(text)
    assert found is None or found in decoders()


def test_loading_the_catalogue_takes_milliseconds() -> None:
    code = (
        "import time, vramlint.memory.catalogue as c\n"
        "def once():\n"
        "    for each in (c._document, c._rows, c._own_keys, c._plain_keys, c._entry): each.cache_clear()\n"
        "    start = time.perf_counter(); c.find_decoder('unsloth/llama-3-8b-bnb-4bit')\n"
        "    return time.perf_counter() - start\n"
        "print(min(once() for _ in range(5)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert float(printed) < 0.02


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("our-lab/reward-Qwen3-8B", "Qwen/Qwen3-8B"),
        ("our-lab/Qwen2.5-Math-7B-proofs", "Qwen/Qwen2.5-Math-7B"),
        ("NousResearch/Hermes-3-Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("dolphin-2.9-llama3-8b", "meta-llama/Meta-Llama-3-8B"),
        ("teknium/OpenHermes-2.5-Mistral-7B", "mistralai/Mistral-7B-v0.1"),
    ],
)
def test_a_fine_tune_whose_name_holds_its_base(name: str, base: str) -> None:
    assert find_decoder(name) is None
    found = find_related(name)
    assert found is not None
    assert found.name == base


@pytest.mark.parametrize(
    "name",
    [
        "our-lab/coder-14B-preview",  # no family
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",  # Qwen2.5, which the name does not say
        "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B",  # a draft head
        "lmms-lab/llava-next-llama-3-8b",  # with a vision tower
        "nvidia/Llama-3_1-Nemotron-51B-Instruct",  # another size
        "Qwen/Qwen9.5-9B",  # another family
        "Qwen2.5-14B-to-7B",  # two sizes
        "chargoddard/mixtralnt-4x7b-test",
        "llama-3",
        "",
    ],
)
def test_a_name_that_does_not_say_its_shape(name: str) -> None:
    assert find_related(name) is None


@pytest.mark.parametrize(
    "further",
    [
        {"model_type": "qwen3_5_text"},
        {"model_type": "nemotron_h", "hybrid_override_pattern": "M*-M"},
        {"model_type": "nemotron_h", "num_hidden_layers": None, "layers_block_type": 3},
        {"model_type": "lfm2"},
    ],
)
def test_a_hybrid_whose_blocks_are_not_described_is_unknown(further: dict[str, object]) -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 100}
    assert decoder_from_config({**sizes, "intermediate_size": 128, **further}) is None


def test_a_tower_of_patches_without_pixels_is_unknown() -> None:
    vision = {"patch_size": 0, "hidden_size": 4, "num_hidden_layers": 2, "intermediate_size": 4, "image_size": 4}
    assert tower_from_config({"model_type": "gemma3", "vision_config": vision}, 64) is None


@given(st.sampled_from(decoders()), st.data())
def test_a_config_with_odd_values_never_ends_in_an_exception(entry: NamedDecoder, data: st.DataObject) -> None:
    described = next(
        values
        for file in ("decoders.json", "vision_language.json")
        for name, _, values in json.loads((DATA / file).read_bytes())["models"]
        if name == entry.name
    )
    inside = described.get("text_config", described)
    key = data.draw(st.sampled_from(sorted(inside)))
    odd = data.draw(st.sampled_from([None, 0, -1, "x", [], {}, [1], 1.5, float("inf"), True]))
    changed = {**inside, key: odd}
    decoder_from_config({**described, "text_config": changed} if inside is not described else changed)
    tower_from_config({**described, "vision_config": changed}, 64)


def test_a_backbone_of_an_odd_type_is_unknown(tmp_path: Path) -> None:
    config = {"model_type": "mask2former", "backbone_config": {"model_type": ["swin"]}}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert local_vision("model", str(tmp_path / "train.yaml")) is None
