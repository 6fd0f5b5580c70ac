"""The script that waits for a card, run whole with a card that is simulated: exactly its commands, in its order."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

SCRIPT = Path("tools/on_a_card.sh").resolve()

PYTHON = """\
#!{python}
import sys
from pathlib import Path

sys.path[:0] = [{root!r}, {rules!r}]
words = sys.argv[1:]
Path({log!r}).open("a").write(" ".join(words[:4]) + "\\n")
if words[:1] == ["-c"]:
    print("2.13.0 13.0 Fake")
elif words[:2] == ["-m", "pytest"]:
    assert Path(words[-1]).exists()
    print("1 passed")
else:
    import vramlint.probe.cuda
    from tests.probe.test_sweep import FakeCard
    from vramlint.cli.main import main

    class Broken(FakeCard):
        def train(self, setting, steps):
            if {broken}:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return super().train(setting, steps)

    vramlint.probe.cuda.CudaBackend = lambda index: Broken()
    sys.exit(main(words[2:]))
"""


@pytest.mark.skipif(not shutil.which("bash") or not shutil.which("timeout"), reason="a script of bash and coreutils")
@pytest.mark.parametrize("broken", ["False", "setting.model == 'timm/convnext_tiny'"])
def test_every_part_of_the_script_runs_and_keeps_its_results(tmp_path: Path, broken: str) -> None:
    root, log, stub = SCRIPT.parents[1], tmp_path / "log", tmp_path / "python"
    text = PYTHON.format(python=sys.executable, root=str(root), rules=str(root / "rules"), log=str(log), broken=broken)
    stub.write_text(text, encoding="utf-8")
    stub.chmod(0o755)
    done = subprocess.run(
        ["bash", str(SCRIPT), str(tmp_path / "out")],
        env={**os.environ, "PYTHON": str(stub)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert [line.split()[:3] for line in log.read_text(encoding="utf-8").splitlines()] == [
        ["-c", "import", "torch;"],
        ["-m", "pytest", "-q"],
        ["-m", "vramlint", "probe"],
        ["-m", "vramlint", "probe"],
    ]
    rows = json.loads((tmp_path / "out" / "probe.json").read_text(encoding="utf-8"))["rows"]
    assert (tmp_path / "out" / "quick.json").exists()
    if broken == "False":
        assert done.returncode == 0, done.stdout + done.stderr
        assert "allocated: median" in (tmp_path / "out" / "sweep.log").read_text(encoding="utf-8")
        assert len(rows) > 60
    else:
        assert done.returncode == 1
        assert 0 < len(rows) < 60  # those before the card broke
        assert "did not end well" in done.stdout
