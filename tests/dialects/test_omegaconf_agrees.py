"""References and command-line words as OmegaConf itself reads them: real files, and a table of spellings."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from tests.dialects.support import Surroundings, document, reading, told
from tools.roundtrip import files_under
from vramlint import sources
from vramlint.dialects.interpolation import interpolated
from vramlint.dialects.overrides import WordSource
from vramlint.dialects.places import FlagSource
from vramlint.dialects.reading import plain_value
from vramlint.sources.model import Mapping, Scalar, Unknown
from vramlint.sources.scalars import Loader, read_node_as

omegaconf = pytest.importorskip("omegaconf")
CORPUS = Path(__file__).parents[2] / ".." / "shared" / "corpus"


def references(mapping: Mapping, home: str = "") -> list[str]:
    """Dotted names of the values that hold ``${``."""
    found: list[str] = []
    for entry in mapping.entries:
        name = f"{home}{entry.key}"
        if isinstance(entry.value, Mapping) and "." not in entry.key:
            found.extend(references(entry.value, f"{name}."))
        elif isinstance(entry.value, Scalar) and "${" in str(entry.value.value) and "." not in entry.key:
            found.append(name)
    return found


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus beside the checkout")
def test_references_of_real_files_lead_where_omegaconf_leads(capsys: pytest.CaptureFixture[str]) -> None:
    tally: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    for path in files_under([str(CORPUS)]):
        data = path.read_bytes()
        if path.suffix not in (".yaml", ".yml") or b"${" not in data or b"{{" in data:
            continue
        try:
            read = sources.read(str(path), data)
            real = omegaconf.OmegaConf.create(read.text)
        except Exception:  # noqa: BLE001 - files that are not OmegaConf's
            tally["files that are not OmegaConf's"] += 1
            continue
        assert isinstance(read.root, Mapping)
        (source,) = interpolated(read)
        tally["files"] += 1
        for name in references(read.root):
            place = source.find(name)
            assert place is not None
            if isinstance(place.node, Unknown):
                tally["left unknown"] += 1
                continue
            try:
                theirs = omegaconf.OmegaConf.select(real, name)
            except Exception as error:  # noqa: BLE001 - OmegaConf's errors are what is reported
                theirs = error
            if isinstance(place.node, Scalar):
                ours = read_node_as(place.node, Loader.OMEGACONF)
                same = type(ours) is type(theirs) and ours == theirs
            else:
                same = type(theirs).__name__ in ("DictConfig", "ListConfig")
            tally["followed"] += 1
            if not same:
                wrong.append(f"{path.name}: {name}: {plain_value(place.node)!r}, OmegaConf {theirs!r}")
    with capsys.disabled():
        print("\nreferences: " + ", ".join(f"{number:,} {what}" for what, number in sorted(tally.items())), end=" ")
    assert tally["followed"] > 100
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("text", ["8", "1e-4", "0.5", "true", "False", "null", "bf16", "16-mixed", "-1", "'a b'"])
@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_a_word_is_worth_what_omegaconf_makes_of_it(text: str, plus: str) -> None:
    script = document("run.sh", f"python train.py {plus}trainer.value={text}\n")
    place = WordSource(script, script.commands[0].overrides).find("trainer.value")
    assert place is not None
    (theirs,) = omegaconf.OmegaConf.from_dotlist([f"trainer.value={text.strip(chr(39))}"]).trainer.values()
    ours = plain_value(place.node)
    assert str(ours) == str(theirs) if isinstance(theirs, (str, float)) else ours == theirs


@pytest.mark.parametrize(
    "words",
    [
        "--train.batch_size 8",
        "--train.batch_size=8",
        "--train.batch-size 8",
        "--train.batch_size 4 --train.batch_size 8",
    ],
)
def test_flags_of_a_launch_line(words: str) -> None:
    script = document("run.sh", f"torchrun train.py --config c.yaml {words} --amp --no-pin\n")
    flags = FlagSource(script, script.commands[0].options)
    assert [plain_value(place.node) for name in ("train.batch_size", "amp", "pin") if (place := flags.find(name))] == [
        8,
        True,
        False,
    ]


FILES = {
    "torchtitan": (
        "train.toml",
        '[training]\nlocal_batch_size = 2\nseq_len = 2048\nsteps = 10\n[model]\nname = "llama3"\nflavor = "8B"\n',
        "torchrun --nproc_per_node 2 -m torchtitan.train --job.config_file train.toml --training.local_batch_size {}4",
        "micro_batch",
    ),
    "nemo": (
        "c.yaml",
        "trainer: {devices: 1, num_nodes: 1, accumulate_grad_batches: 1, max_epochs: 3}\n"
        "model:\n  train_ds: {manifest_filepath: x, batch_size: 2, sample_rate: 16000}\n"
        "  optim: {name: adamw}\n  encoder: {_target_: nemo.collections.asr.modules.ConformerEncoder}\n",
        "python t.py --config-name c {}model.train_ds.batch_size=4",
        "micro_batch",
    ),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("form", ["", "+"])
def test_the_launch_line_wins_over_the_file_that_it_names(name: str, form: str) -> None:
    path, text, line, fact = FILES[name]
    plus = form if name == "nemo" else ""
    alone = reading(path, text)
    assert told(alone.plan.fact(fact))[:2] == (2, "file")
    launched = reading(path, text, Surroundings({path: text}, launched_by=line.format(plus) + "\n"))
    assert told(launched.plan.fact(fact))[:2] == (4, "launch")
