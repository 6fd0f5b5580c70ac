"""``--add-ignore``: where comments go in each syntax, and that no file is broken by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from vramlint.engine import CheckOptions, check
from vramlint.engine.add_ignore import IgnoreOutcome, add_ignores

RULE = "prefetch-without-workers"
HEAD = "model_name_or_path: Qwen/Qwen2.5-0.5B\noutput_dir: out\nper_device_train_batch_size: 4\nnum_train_epochs: 1\n"
YAML = HEAD + "dataloader_num_workers: 0\ndataloader_prefetch_factor: 2\nsave_strategy: epoch\n"
SHELL = (
    "#!/bin/bash\nset -e\ntorchrun --nproc_per_node=2 train.py \\\n    --model resnet50 --batch_size 32 --epochs 5 \\\n"
    "    --num_workers 0 --prefetch_factor 2\n"
)
PYTHON = (
    "from transformers import TrainingArguments\n\nargs = TrainingArguments(\n    output_dir='out',\n"
    "    per_device_train_batch_size=4,\n    dataloader_num_workers=0,\n    dataloader_prefetch_factor=2,\n)\n"
)
TOML = (
    'pretrained_model_name_or_path = "x.safetensors"\noutput_dir = "out"\ntrain_batch_size = 4\n'
    "max_data_loader_n_workers = 0\npersistent_data_loader_workers = true\nnetwork_module = 'networks.lora'\n"
    "max_train_steps = 100\n"
)
JSON = '{"model_name_or_path": "Qwen/Qwen2.5-0.5B", "output_dir": "out", "per_device_train_batch_size": 4,\n' + (
    '"num_train_epochs": 1, "dataloader_num_workers": 0, "dataloader_prefetch_factor": 2}\n'
)


def write(name: str, text: str) -> None:
    Path(name).write_bytes(text.encode())


def added(name: str, text: str, reason: str = "", **options: object) -> IgnoreOutcome:
    write(name, text)
    return add_ignores([name], CheckOptions(**options), reason)


def text_of(outcome: IgnoreOutcome) -> str:
    (file,) = outcome.files
    return file.new.decode()


@pytest.mark.parametrize(
    ("name", "text", "old", "new"),
    [
        ("a.yaml", YAML, "prefetch_factor: 2\n", f"prefetch_factor: 2  # vramlint: ignore[{RULE}]\n"),
        (
            "a.yaml",
            YAML.replace("factor: 2", "factor: 2  # mine"),
            "dataloader_prefetch_factor: 2  # mine",
            f"# vramlint: ignore[{RULE}]\ndataloader_prefetch_factor: 2  # mine",
        ),
        (
            "a.yaml",
            YAML.replace("factor: 2", "factor: 2  # vramlint: ignore[VL1] so"),
            "ignore[VL1] so",
            f"ignore[VL1, {RULE}] so",
        ),
        ("run.sh", SHELL, "torchrun", f"# vramlint: ignore[{RULE}]\ntorchrun"),
        ("a.py", PYTHON, "factor=2,\n", f"factor=2,  # vramlint: ignore[{RULE}]\n"),
        ("a.toml", TOML, "workers = true\n", "workers = true  # vramlint: ignore[persistent-without-workers]\n"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_comment_goes_where_it_silences(name: str, text: str, old: str, new: str, newline: str, mark: str) -> None:
    if name.endswith((".sh", ".toml")) and mark:
        pytest.skip("no loader takes a mark there")
    text, old, new = (mark + text if part is text else part for part in (text, old, new))
    text, old, new = (part.replace("\n", newline) for part in (text, old, new))
    names = ["prefetch-without-workers", "persistent-without-workers"]
    outcome = added(name, text, select=tuple(names))
    assert text_of(outcome) == text.replace(old, new)
    assert (outcome.added, outcome.left) == (1, ())
    Path(name).write_bytes(outcome.files[0].new)
    again = check([name], CheckOptions(select=tuple(names)))
    assert (again.findings, again.failures) == ((), ())
    assert again.suppressed == 1
    assert not add_ignores([name], CheckOptions(select=tuple(names))).files


def test_a_reason_is_one_line() -> None:
    outcome = added("a.yaml", YAML, "old run,\n keep  it", select=(RULE,))
    assert f"# vramlint: ignore[{RULE}] old run, keep it\n" in text_of(outcome)


def test_findings_of_one_line_share_a_comment() -> None:
    line = "python train.py --model resnet50 --batch_size 32 --epochs 5 --num_workers 0 --prefetch_factor 2"
    outcome = added("run.sh", f"{line} --persistent_workers\n", "so", select=("VL3",))
    assert text_of(outcome).startswith(
        f"# vramlint: ignore[prefetch-without-workers, persistent-without-workers] so\n{line}"
    )
    assert (outcome.added, outcome.result.findings) == (2, ())


def test_what_no_line_is_to_blame_for_is_silenced_for_the_file() -> None:
    text = "# a licence\n_BASE_: base.yaml\nMODEL:\n  WEIGHTS: w.pkl\nDATASETS:\n  TEST: ('coco_2017_val',)\n"
    outcome = added("retinanet.yaml", text, select=("vram-unknown",), gpu=("t4",))
    assert outcome.added == 1
    assert text_of(outcome) == f"# vramlint: ignore-file[vram-unknown]\n{text}"


def test_json_is_left_with_a_hint() -> None:
    outcome = added("a.json", JSON, select=(RULE,))
    assert outcome.files == ()
    assert [left.reason for left in outcome.left] == ["JSON has no comments; `vramlint baseline` records it instead"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # A comment above would end the continued line before it.
        ("run.sh", "echo begin && \\\n" + SHELL.partition("set -e\n")[2]),
        ("run.sh", "cat <<EOT | \\\n" + SHELL.partition("set -e\n")[2] + "words\nEOT\n"),
        # Both the end of the line and the line above lie inside the text of another value.
        ("a.yaml", HEAD + 'note: "one\n  two" \ndataloader_num_workers: 0\ndataloader_prefetch_factor: 2\n'),
        ("a.yaml", "{" + HEAD.replace("\n", ", ") + "dataloader_num_workers: 0,\ndataloader_prefetch_factor: 2}\n"),
        ("a.py", PYTHON.replace("dataloader_prefetch_factor=2,", "dataloader_prefetch_factor=2, run_name='''a\nb''',")),
    ],
)
def test_a_comment_that_cannot_be_is_refused_and_the_file_stays_whole(name: str, text: str) -> None:
    outcome = added(name, text, select=(RULE,))
    assert len(outcome.before.findings) == 1
    if not outcome.files:
        assert [left.finding.name for left in outcome.left] == [RULE]
        assert outcome.left[0].reason
        return
    Path(name).write_bytes(outcome.files[0].new)
    after = check([name], CheckOptions(select=(RULE,)))
    assert (after.findings, after.failures, len(after.runs)) == ((), (), len(outcome.before.runs))


def test_what_fresh_leaves_out_gets_no_comment() -> None:
    write("a.yaml", YAML)
    outcome = add_ignores(["a.yaml"], CheckOptions(), "", lambda result: result._replace(findings=()))
    assert outcome.files == ()
