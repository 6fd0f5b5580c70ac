"""What stands in front of a training program: launchers, schedulers, wrappers, the interpreter.

Which options take a value is each tool's own knowledge: torchrun (torch 2.6 ``torch/distributed/run.py``), accelerate
1.x ``commands/launch.py``, deepspeed 0.16 ``launcher/runner.py``, Open MPI 5 ``mpirun(1)``, Slurm 24.05 ``srun(1)``,
uv 0.5, coreutils 9, Docker 27 ``docker run``, Apptainer 1.3 ``exec``. An option in no table takes the next word unless
that word is a flag or looks like a program.
"""

from __future__ import annotations

from typing import NamedTuple


class Tool(NamedTuple):
    """How to read the options of one launcher.

    ``switches`` take no value (an underscore stands for a hyphen too: torchrun and accelerate take both), ``pairs``
    take two; ``module`` options are followed by a module instead of a script. ``words`` are needed behind the name
    (``accelerate launch``); ``skip`` counts positional words to step over (``timeout 60``). ``assignments`` tells
    whether ``NAME=value`` words may stand in front of the program.
    """

    switches: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()
    module: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    skip: int = 0
    assignments: bool = False
    wrapper: bool = False
    """Says nothing about the run (``time``, ``nohup``): left out of ``Command.launchers``."""

    def is_switch(self, flag: str) -> bool:
        """Whether ``flag`` takes no value."""
        return flag in self.switches or f"--{flag[2:].replace('-', '_')}" in self.switches


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TORCHRUN = Tool(
    switches=_names("--standalone --no_python --run_path -h --help"),
    module=_names("-m --module"),
)
_ACCELERATE = Tool(
    switches=_names(
        "--cpu --multi_gpu --tpu --ipex --use_mps_device --use_deepspeed --use_fsdp --use_megatron_lm --use_xpu"
        " --no_python --debug --quiet -q --same_network --tpu_cluster --no_tpu_cluster --tpu_use_sudo --downcast_bf16"
        " --use_parallelism_config --enable_cpu_affinity --dynamo_use_dynamic --dynamo_use_fullgraph"
        " --dynamo_use_regional_compilation --fp8_use_autocast_during_eval"
    ),
    module=_names("-m --module"),
    words=("launch",),
)
_DEEPSPEED = Tool(
    switches=_names(
        "--no_python --no_local_rank --no_ssh --no_ssh_check --force_multi --save_pid --bind_cores_to_rank"
        " --elastic_training"
    ),
    module=_names("--module -m"),
)
_MPI = Tool(
    switches=_names(
        "--allow-run-as-root -allow-run-as-root --oversubscribe -oversubscribe --tag-output -tag-output"
        " --bind-to-core --nooversubscribe -v --verbose -q --quiet --display-map --report-bindings"
    ),
    pairs=_names("-mca --mca -gmca --gmca"),
)
_SRUN = Tool(
    switches=_names(
        "-u --unbuffered -l --label -v --verbose -Q --quiet -K -s --oversubscribe -O --overcommit --exclusive"
        " --overlap --pty --contiguous --wait-all-nodes --exact -k --no-kill"
    ),
)
_UV = Tool(
    switches=_names(
        "--frozen --locked --no-sync --isolated --all-extras --no-dev --dev --active --no-project --quiet -q"
        " --verbose -v --exact --offline --refresh --upgrade -U --script -s --all-groups --no-cache -n"
    ),
    module=_names("-m --module"),
    words=("run",),
)
PYTHON = Tool(switches=_names("-u -O -OO -B -E -I -s -S -v -q -b -i -P -d"), module=_names("-m"))
_NOTHING = Tool(wrapper=True)
_DOCKER = Tool(
    switches=_names(
        "--rm -it -ti -i -t -d --privileged --init --detach --interactive --tty --read-only --no-healthcheck"
    ),
    words=("run",),
    skip=1,
    wrapper=True,
)
_SINGULARITY = Tool(
    switches=_names(
        "--nv --nvccli --rocm -e --cleanenv -c --contain -C --containall --writable --writable-tmpfs --no-home --compat"
        " -f --fakeroot -u --userns --no-init --no-privs"
    ),
    words=("exec",),
    skip=1,
    wrapper=True,
)

TOOLS: dict[str, Tool] = {
    "torchrun": TORCHRUN,
    "accelerate": _ACCELERATE,
    "accelerate-launch": _ACCELERATE._replace(words=()),
    "deepspeed": _DEEPSPEED,
    "mpirun": _MPI,
    "mpiexec": _MPI,
    "horovodrun": Tool(switches=_names("--verbose --check-build --mpi --gloo")),
    "srun": _SRUN,
    "uv": _UV,
    "poetry": Tool(words=("run",)),
    "pdm": Tool(words=("run",)),
    "pixi": Tool(words=("run",)),
    "conda": Tool(switches=_names("--no-capture-output --live-stream -v"), words=("run",)),
    "env": Tool(switches=_names("-i --ignore-environment -0 -v"), assignments=True, wrapper=True),
    "numactl": Tool(switches=_names("-l --localalloc")),
    "timeout": Tool(switches=_names("--foreground --preserve-status -v"), skip=1, wrapper=True),
    "nice": Tool(wrapper=True),
    "ionice": Tool(wrapper=True),
    "stdbuf": Tool(wrapper=True),
    "taskset": Tool(switches=_names("-c --cpu-list"), skip=1, wrapper=True),
    "nohup": _NOTHING,
    "exec": _NOTHING,
    "command": _NOTHING,
    "sudo": Tool(switches=_names("-E -H -n -S"), assignments=True, wrapper=True),
    "setsid": _NOTHING,
    "time": Tool(switches=_names("-p -v"), wrapper=True),
    "nsys": Tool(words=("profile",)),
    "ncu": Tool(),
    "ray": Tool(switches=_names("--no-wait --verify -v --verbose"), words=("job", "submit"), wrapper=True),
    "docker": _DOCKER,
    "podman": _DOCKER,
    "nvidia-docker": _DOCKER,
    "singularity": _SINGULARITY,
    "apptainer": _SINGULARITY,
}
MODULE_LAUNCHERS: dict[str, tuple[str, Tool]] = {
    "torch.distributed.run": ("torch.distributed.run", TORCHRUN),
    "torch.distributed.launch": ("torch.distributed.launch", TORCHRUN),
    "accelerate.commands.launch": ("accelerate launch", _ACCELERATE._replace(words=())),
    "deepspeed.launcher.runner": ("deepspeed", _DEEPSPEED),
}
"""``python -m MODULE``: the same launchers by another door."""

SHELLS = frozenset({"bash", "sh", "zsh", "dash", "ksh"})
CONSOLE_PROGRAMS = _names(
    "trl yolo tune axolotl llamafactory-cli lmf swift litgpt lightning xtuner mim composer nemo nemorun"
    " fairseq-train fairseq-hydra-train unsloth autotrain ludwig sky openrlhf megatron-swift oumi"
    " torchtitan_train"
)
SUBCOMMANDS = _names(
    "train fit finetune fine-tune fine_tune pretrain sft dpo grpo kto orpo ppo rlhf reward rloo eval"
    " evaluate val validate test predict export infer tune benchmark"
)
"""Words that name what a script shall do when they stand right behind it."""

IGNORED_PROGRAMS = _names(
    ": . [ [[ alias apt apt-get awk break builtin cat cd chmod chown conda continue cp curl date df"
    " dirname du echo exit export false find free git grep head hostname kill let ln local ls mkdir module"
    " mv nvcc nvidia-smi pip pip3 popd printf pushd pwd read readonly return rm rsync scontrol sed set"
    " shift shopt sleep sort source ssh tail tar tee test touch trap true type typeset ulimit umask unset"
    " unzip wait wc wget which declare eval pkill killall xargs mktemp"
)
"""Builtins and utilities that never are the training run."""
