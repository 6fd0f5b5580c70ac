"""The language server over standard input and output, by a client of a few lines."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from vramlint.report.editor import Lines

pytest.importorskip("pygls", reason="pip install 'vramlint[lsp]'")

PROGRAM = Path(sys.executable).with_name("vramlint")
YAML = """\
model_name_or_path: Qwen/Qwen2.5-0.5B
output_dir: out
per_device_train_batch_size: 4
num_train_epochs: 1
dataloader_num_workers: 0
dataloader_prefetch_factor: 2  # 🙂
"""
FIXED = YAML.replace("dataloader_prefetch_factor: 2  # 🙂\n", "")


class Client:
    """Speaks the base protocol: a header with the length, then JSON."""

    def __init__(self, folder: Path, *arguments: str, encodings: tuple[str, ...] = ("utf-16",)) -> None:
        self._process = subprocess.Popen(
            [PROGRAM, "lsp", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        self._number = 0
        self._replies: Queue[dict[str, Any]] = Queue()
        self.told: Queue[dict[str, Any]] = Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        general = {"positionEncodings": list(encodings)}
        self.capabilities = self.ask(
            "initialize", processId=None, rootUri=folder.as_uri(), capabilities={"general": general}
        )["capabilities"]
        self.tell("initialized")

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while header := stream.readline():
            length = int(header.split(b":")[1]) if header.lower().startswith(b"content-length") else 0
            while header.strip():
                header = stream.readline()
                if header.lower().startswith(b"content-length"):
                    length = int(header.split(b":")[1])
            message = json.loads(stream.read(length))
            (self._replies if "id" in message and "method" not in message else self.told).put(message)
        self._replies.put({"error": "the server has ended"})
        self.told.put({"method": "ended"})

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self._process.stdin.flush()

    def ask(self, method: str, **params: Any) -> Any:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        reply = self._replies.get(timeout=180)
        assert "error" not in reply, reply
        return reply["result"]

    def tell(self, method: str, **params: Any) -> None:
        self._send({"method": method, "params": params})

    def diagnostics(self) -> list[dict[str, Any]]:
        while True:
            message = self.told.get(timeout=180)
            assert message["method"] != "ended", "the server has ended"
            if message["method"] == "textDocument/publishDiagnostics":
                return message["params"]["diagnostics"]

    def open(self, path: Path, text: str) -> list[dict[str, Any]]:
        document = {"uri": path.as_uri(), "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", textDocument=document)
        return self.diagnostics()

    def close(self) -> int:
        self.ask("shutdown")
        self.tell("exit")
        return self._process.wait(timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_findings_when_a_file_is_opened_changed_and_saved(folder: Path) -> None:
    client = Client(folder)
    path = folder / "sft.yaml"
    (found,) = client.open(path, YAML)
    assert found["code"] == "prefetch-without-workers"
    assert found["severity"] == 1
    assert found["source"] == "vramlint"
    assert found["range"] == {"start": {"line": 5, "character": 28}, "end": {"line": 5, "character": 29}}
    identifier = {"uri": path.as_uri(), "version": 2}
    client.tell("textDocument/didChange", textDocument=identifier, contentChanges=[{"text": FIXED}])
    client.tell("textDocument/didSave", textDocument={"uri": path.as_uri()})
    assert client.diagnostics() == []
    client.tell("textDocument/didClose", textDocument={"uri": path.as_uri()})
    assert client.diagnostics() == []
    assert client.close() == 0


def test_the_quick_fix_makes_the_file_clean(folder: Path) -> None:
    client = Client(folder)
    path = folder / "sft.yaml"
    (found,) = client.open(path, YAML)
    actions = client.ask(
        "textDocument/codeAction",
        textDocument={"uri": path.as_uri()},
        range=found["range"],
        context={"diagnostics": [found]},
    )
    assert [action["kind"] for action in actions] == ["quickfix"] * len(actions)
    (preferred,) = [action for action in actions if action.get("isPreferred")]
    assert preferred["title"] == "Remove dataloader_prefetch_factor"
    (edit,) = preferred["edit"]["changes"][path.as_uri()]
    assert client.open(path, applied(YAML, edit)) == []
    elsewhere = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}}
    document = {"uri": path.as_uri()}
    asked = {"textDocument": document, "range": elsewhere, "context": {"diagnostics": []}}
    assert client.ask("textDocument/codeAction", **asked) == []
    client.close()


def applied(text: str, edit: dict[str, Any]) -> str:
    """``text`` with an edit whose columns count UTF-16 units."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)

    def offset(position: dict[str, int]) -> int:
        line = text[starts[position["line"]] :].encode("utf-16-le")
        return starts[position["line"]] + len(line[: 2 * position["character"]].decode("utf-16-le"))

    return text[: offset(edit["range"]["start"])] + edit["newText"] + text[offset(edit["range"]["end"]) :]


def test_hovering_shows_what_a_setting_does(folder: Path) -> None:
    client = Client(folder, "--gpu", "t4", "--gpus", "2")
    path = folder / "sft.yaml"
    client.open(path, YAML + "max_seq_length: 512\n")
    document = {"uri": path.as_uri()}
    about = client.ask("textDocument/hover", textDocument=document, position={"line": 2, "character": 30})
    told = about["contents"]["value"]
    assert told.startswith("**micro batch** 4")
    assert "effective batch 8" in told
    assert "on t4" in told
    nothing = client.ask(
        "textDocument/hover", textDocument={"uri": path.as_uri()}, position={"line": 1, "character": 1}
    )
    assert nothing is None
    client.close()


ARGUMENTS = {
    "model_name_or_path": "x",
    "output_dir": "o",
    "per_device_train_batch_size": 4,
    "num_train_epochs": 1,
    "dataloader_num_workers": 0,
    "dataloader_prefetch_factor": 2,
}
CALL = ", ".join(f"{name}={value!r}" for name, value in ARGUMENTS.items() if name != "model_name_or_path")
KOHYA = """\
pretrained_model_name_or_path = "x"
output_dir = "o"
train_batch_size = 4
max_data_loader_n_workers = 0
persistent_data_loader_workers = true
network_module = "networks.lora"
max_train_steps = 9
"""
LINE = "python train.py --model resnet50 --batch_size 8 --num_workers 0 --prefetch_factor 2\n"
PREFETCH, PERSISTENT = "prefetch-without-workers", "persistent-without-workers"


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.json", json.dumps(ARGUMENTS), PREFETCH),
        ("a.sh", LINE, PREFETCH),
        ("a.py", f"from transformers import TrainingArguments\nargs = TrainingArguments({CALL})\n", PREFETCH),
        ("a.toml", KOHYA, PERSISTENT),
    ],
)
def test_every_syntax(folder: Path, name: str, text: str, code: str) -> None:
    client = Client(folder)
    assert code in [found["code"] for found in client.open(folder / name, text)]
    client.close()


def test_a_file_that_cannot_be_read_and_one_that_is_no_config(folder: Path) -> None:
    client = Client(folder)
    (found,) = client.open(folder / "a.yaml", YAML + "x: [1,\n")
    assert (found["severity"], found["range"]["start"]["line"]) == (1, 7)
    assert client.open(folder / "b.yaml", "name: hello\n") == []
    client.close()


def test_wrong_settings_do_not_end_the_server(folder: Path) -> None:
    (folder / "vramlint.toml").write_text("gpuss = 1\n")
    client = Client(folder)
    assert client.open(folder / "a.yaml", YAML) == []
    (folder / "vramlint.toml").unlink()
    client.tell("textDocument/didSave", textDocument={"uri": (folder / "a.yaml").as_uri()})
    assert len(client.diagnostics()) == 1
    client.close()


@pytest.mark.parametrize(
    ("encoding", "units"), [("utf-8", 4 + 2 + 1), ("utf-16-le", 2 + 1 + 1), ("utf-32-le", 1 + 1 + 1)]
)
def test_columns_in_the_units_of_the_editor(encoding: str, units: int) -> None:
    assert Lines("a\r\n🙂éx", encoding).units(2, 4) == units
    assert Lines("a", encoding).units(9, 1) == 0
