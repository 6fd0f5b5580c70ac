"""Who decides what a run is checked against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vramlint.engine import CheckOptions, check
from vramlint.engine.targets import targets
from vramlint.errors import TargetError
from vramlint.hardware.model import Host, Target
from vramlint.project.settings import Settings, SettingsFinder
from vramlint.sources import read

Fake = Callable[..., None]
GIB = 2**30


def target(text: str = "a: 1\n", path: str = "a.yml", **options: object) -> Target:
    document = read(path, text.encode())
    settings = SettingsFinder().for_file(path)
    (found,) = targets([document], str(Path(path).absolute()), settings, CheckOptions(**options))  # type: ignore[arg-type]
    return found


def said(found: Target) -> tuple[str | None, int | None, int | None, str]:
    return found.gpu.name if found.gpu else None, found.gpus, found.nodes, found.source


def test_nobody_said_anything() -> None:
    assert target() == Target()


def test_the_order() -> None:
    """A comment in the file, the command line, the settings, the job's request; each part on its own."""
    job = "#!/bin/bash\n#SBATCH --gres=gpu:a100:4\n#SBATCH --nodes=2\n#SBATCH --cpus-per-task=8\n"
    assert target(job, "a.sh")[1:3] == (4, 2)
    Path("vramlint.toml").write_text('gpu = "rtx3090"\ncores = 6\n', encoding="utf-8")
    found = target(job, "a.sh")
    assert said(found) == ("rtx-3090", 4, 2, "vramlint.toml")
    assert found.host.cores == 6
    assert said(target(job, "a.sh", gpus=3)) == ("rtx-3090", 3, 2, "vramlint.toml")
    assert said(target(job, "a.sh", gpu=("rtx3070-8gb",))) == ("rtx-3070", 4, 2, "--gpu")
    spoken = job + "# vramlint: gpu=rtx4090 nodes=1\n"
    assert said(target(spoken, "a.sh", gpu=("rtx3070-8gb",), gpus=3)) == ("rtx-4090", 3, 1, "comment in the file")


def test_per_path_tables() -> None:
    Path("vramlint.toml").write_text(
        'gpu = "rtx3090"\ngpus = 1\n[[targets]]\npath = "cluster/**"\ngpus = 8\n', encoding="utf-8"
    )
    assert said(target(path="cluster/a.yml")) == ("rtx-3090", 8, None, "vramlint.toml")
    assert said(target(path="a.yml")) == ("rtx-3090", 1, None, "vramlint.toml")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.yml", "# vramlint: gpu=rtx3070-8gb gpus=2 nodes=1 cores=8 ram=64GiB shm=64MiB\nx: 1\n"),
        ("a.sh", "#!/bin/sh\n# vramlint: gpu=rtx3070-8gb, gpus=2, nodes=1, cores=8, ram=64GiB, shm=64MiB\n"),
        ("a.py", "# vramlint: gpu='rtx3070-8gb' gpus=2 nodes=1 cores=8 ram=64GiB shm=64MiB\n"),
        ("a.toml", '# vramlint: gpu="rtx3070-8gb" gpus = 2 nodes=1 cores=8 ram=64GiB shm=64MiB\n'),
        ("a.json", '{\n// vramlint: gpu=rtx3070-8gb gpus=2 nodes=1 cores=8 ram=64GiB shm=64MiB\n"x": 1}'),
    ],
)
def test_comments_in_every_syntax(path: str, text: str) -> None:
    found = target(text, path)
    assert said(found) == ("rtx-3070", 2, 1, "comment in the file")
    assert found.host == Host(8, 64 * GIB, 64 * 2**20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: 1\n# vramlint: gpu=rtx-99999\n", "unknown GPU"),
        ("x: 1\n# vramlint: gpus=two\n", "'two' is not a whole number"),
        ("x: 1\n# vramlint: gpus=0\n", "'0' is not a whole number"),
        ("x: 1\n# vramlint: gpuz=2\n", "unknown target 'gpuz'"),
        ("x: 1\n# vramlint: ram=64\n", "expected a size"),
    ],
)
def test_a_comment_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(TargetError) as raised:
        target(text)
    assert message in raised.value.message
    assert (raised.value.path, raised.value.line) == ("a.yml", 2)


def test_a_wrong_comment_fails_its_file_and_no_other(fake: Fake) -> None:
    fake()
    Path("a.yml").write_text("batch: 8 # vramlint: gpu=rtx-99999\n", encoding="utf-8")
    Path("b.yml").write_text("batch: 8\n", encoding="utf-8")
    result = check(["."])
    assert [(failure.path, failure.line) for failure in result.failures] == [("a.yml", 1)]
    assert [finding.location.path for finding in result.findings] == ["b.yml"]


def test_a_wrong_gpu_in_the_settings_stops_everything(fake: Fake) -> None:
    fake()
    Path("a.yml").write_text("batch: 8\n", encoding="utf-8")
    Path("vramlint.toml").write_text('gpu = "rtx-99999"\n', encoding="utf-8")
    with pytest.raises(TargetError) as raised:
        check(["."])
    assert raised.value.path == "vramlint.toml"


@pytest.mark.parametrize(
    ("lines", "gpus", "nodes"),
    [
        ("#SBATCH --gres=gpu:4", 4, None),
        ("#SBATCH --gres=gpu:a100:4", 4, None),
        ("#SBATCH --gpus-per-node=8\n#SBATCH -N 2", 8, 2),
        ("#SBATCH --gpus=8\n#SBATCH --nodes=2", 4, 2),
        ("#SBATCH --gpus=7\n#SBATCH --nodes=2", None, 2),
        ("#SBATCH --gres=shard:4", None, None),
        ("#SBATCH --nodes=1-4", None, 1),
        ("#SBATCH --time=1:00", None, None),
    ],
)
def test_what_a_job_asks_for(lines: str, gpus: int | None, nodes: int | None) -> None:
    found = target(f"#!/bin/bash\n{lines}\nsrun python t.py\n", "a.sh")
    assert (found.gpus, found.nodes) == (gpus, nodes)


def test_a_gpu_name_of_the_cluster_that_means_nothing_is_no_error() -> None:
    found = target("#!/bin/bash\n#SBATCH --gres=gpu:bigfoot:2\n", "a.sh")
    assert said(found) == (None, 2, None, "")


def test_several_gpus_of_the_command_line() -> None:
    document = read("a.yml", b"a: 1\n")
    found = targets([document], "/x/a.yml", Settings("/x"), CheckOptions(gpu=("rtx3090", "rtx3070-8gb", "rtx3090")))
    assert [each.gpu.name for each in found if each.gpu] == ["rtx-3090", "rtx-3070"]


def test_the_target_of_the_launch_script_holds_for_the_config() -> None:
    """A comment in the script that launches a config says which card the config is for."""
    Path("config.yml").write_text(
        "trainer:\n  gradient_accumulation_steps: 1\n  lr: 0.1\ndata:\n  batch_size: 4\n  num_workers: 2\n",
        encoding="utf-8",
    )
    Path("train.sh").write_text("# vramlint: gpu=rtx3090\npython train.py --config config.yml\n", encoding="utf-8")
    result = check(["config.yml"])
    assert [run.target.gpu.name for run in result.runs if run.target.gpu] == ["rtx-3090"]
