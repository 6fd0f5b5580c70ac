"""What each framework makes of a real config: an oracle for the plan tables that shares no code with vramlint.

    python tools/plan_oracle.py ../shared/corpus            compare vramlint with the oracle on every file
    python tools/plan_oracle.py --write ../shared/corpus    write chosen cases into tests/dialects/plans/real.txt

Files are read with the framework's own loader (PyYAML, OmegaConf, json, tomllib), and the arithmetic is transcribed
from the framework's source, which each oracle names. An oracle answers None where the framework stops, and a number of
None for what only the run knows. A disagreement is settled by that source, never by either program.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "tests" / "dialects" / "plans" / "real.txt"
_CASES_EACH = 12
GPUS = (1, 2, 3, 8)


class Unsure(Exception):
    """The oracle does not understand the file: no case is made of it."""


class Batch(NamedTuple):
    """Per rank, steps, data-parallel ranks, effective batch; None for what only the run knows."""

    micro: int | None
    steps: int | None
    ranks: int | None
    effective: int | None


class Oracle(NamedTuple):
    """``batch`` of the loaded file on so many GPUs (None: the framework stops), and the unit of its batches.

    The docstring of ``batch`` names the source of its arithmetic.
    """

    load: Callable[[Path], Any]
    batch: Callable[[Any, int], Batch | None]
    unit: Callable[[Any], str]


def plain(path: Path) -> Any:
    """PyYAML's safe loader, the first document."""
    return next(iter(yaml.safe_load_all(path.read_text("utf-8"))))


def omega(path: Path) -> Any:
    """OmegaConf with interpolations resolved, mandatory values that are missing kept as ``???``."""
    config = OmegaConf.create(path.read_text("utf-8"))
    try:
        return OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException:
        return OmegaConf.to_container(config, resolve=False)


def objects(path: Path) -> Any:
    """JSON."""
    return json.loads(path.read_text("utf-8"))


def toml(path: Path) -> Any:
    """TOML."""
    return tomllib.loads(path.read_text("utf-8"))


class References(yaml.SafeLoader):
    """HyperPyYAML without objects: ``!ref <key>`` stays a text, everything else that is built is None."""


References.add_multi_constructor("!ref", lambda loader, _tag, node: f"<ref>{loader.construct_scalar(node)}")
References.add_multi_constructor(
    "!",
    lambda loader, _tag, node: (
        loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None
    ),
)


def hyper(path: Path) -> Any:
    """HyperPyYAML with plain references resolved."""
    config = yaml.load(path.read_text("utf-8"), References)

    def resolved(value: Any) -> Any:
        for _ in range(8):
            if not isinstance(value, str) or not value.startswith("<ref>"):
                break
            name = value.removeprefix("<ref>").strip()
            whole = name.startswith("<") and name.endswith(">") and name.count("<") == 1
            value = at(config, name[1:-1].replace("[", ".").replace("]", "")) if whole else None
        return {key: resolved(item) for key, item in value.items()} if isinstance(value, dict) else value

    return resolved(config)


def at(config: Any, path: str, otherwise: Any = None) -> Any:
    """The value at a dotted path."""
    for key in path.split("."):
        if not isinstance(config, dict) or key not in config:
            return otherwise
        config = config[key]
    return config


def per_rank(micro: Any, steps: Any, ranks: int | None) -> Batch | None:
    """micro x steps x ranks."""
    if not all(item is None or (isinstance(item, int) and not isinstance(item, bool)) for item in (micro, steps)):
        raise Unsure
    known = micro is not None and steps is not None and ranks is not None
    return Batch(micro, steps, ranks, micro * steps * ranks if known else None)


def samples(_config: Any) -> str:
    return "samples"


def images(_config: Any) -> str:
    return "images"


def axolotl(config: Any, world: int) -> Batch | None:
    """axolotl 0.19 utils/config/__init__.py#normalize_config: micro x steps x (world // cp // tp)."""
    micro = config.get("micro_batch_size") or 1
    steps = config.get("gradient_accumulation_steps") or ((config.get("batch_size") or micro) // micro)
    context = config.get("context_parallel_size") or config.get("sequence_parallel_degree") or 1
    tensor = config.get("tensor_parallel_size") or 1
    shared = context * tensor
    return None if world % shared else per_rank(micro, steps, world // shared)


def transformers(config: Any, world: int) -> Batch | None:
    """transformers 5.24 trainer.py#get_total_train_batch_size."""
    return per_rank(config.get("per_device_train_batch_size", 8), config.get("gradient_accumulation_steps", 1), world)


def trl_unit(config: Any) -> str:
    if "num_generations" in config:
        return "completions"
    return "pairs" if any(key in config for key in ("beta", "rpo_alpha", "max_prompt_length")) else "samples"


def llamafactory(config: Any, world: int) -> Batch | None:
    """LLaMA-Factory 0.9.5 hparams/training_args.py: transformers' product."""
    if "dist_config" in config or "train_dataset" in config:
        raise Unsure
    if "tokenized_path" in config and "per_device_train_batch_size" not in config:
        raise Unsure  # such a file tokenizes the data and ends
    if "pipeline_model_parallel_size" in config:
        raise Unsure  # Megatron-Core: the example's own comment counts expert ranks off, Megatron-Core does not
    return transformers(config, world)


def llamafactory_unit(config: Any) -> str:
    return "pairs" if config.get("stage") in ("dpo", "rm") else "samples"


def accelerate(config: Any, world: int) -> Batch | None:
    """accelerate 1.15 utils/launch.py (num_processes is the total), data_loader.py (tp, cp and sp share a batch)."""
    ranks = config.get("num_processes")
    if not isinstance(ranks, int) or ranks < 1:
        ranks = world
    shared = 1
    for kind in ("tp", "cp", "sp"):
        shared *= at(config, f"parallelism_config.parallelism_config_{kind}_size", 1)
    steps = at(config, "deepspeed_config.gradient_accumulation_steps", config.get("gradient_accumulation_steps"))
    return Batch(None, steps, ranks // shared, None)


def deepspeed(config: Any, world: int) -> Batch | None:
    """DeepSpeed 0.19.6 runtime/config.py#_set_batch_related_parameters: two give the third, all are asserted."""
    given = [
        config.get(key) for key in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    ]
    if any(isinstance(item, str) for item in given) or config.get("sequence_parallel_size"):
        raise Unsure
    train, micro, steps = given
    if train and micro and not steps:
        steps = train // micro // world
    elif train and steps and not micro:
        micro = train // world // steps
    elif micro and steps and not train:
        train = micro * steps * world
    elif train and not micro:
        steps, micro = 1, train // world
    elif micro and not train:
        steps, train = 1, micro * world
    if train is None and micro is None:
        raise Unsure  # part of a file: DeepSpeed alone would stop
    if not train or not micro or not steps or train != micro * steps * world:
        return None
    return Batch(micro, steps, world, train)


def torchtune(config: Any, world: int) -> Batch | None:
    """torchtune 0.6.1 recipes/full_finetune_distributed.py; single-device recipes have one rank."""
    shared = config.get("tensor_parallel_dim", 1) * config.get("context_parallel_dim", 1)
    single = any(word in config["__path__"] for word in ("single_device", "low_memory"))
    if world % shared and not single:
        return None
    ranks = 1 if single else world // shared
    return per_rank(config.get("batch_size"), config.get("gradient_accumulation_steps", 1), ranks)


def torchtitan(config: Any, world: int) -> Batch | None:
    """torchtitan v0.2.0 train.py lines 187-213."""
    training, parallel = config["training"], config.get("parallelism", {})
    local = training.get("local_batch_size", training.get("batch_size", 8))
    shared = 1
    for kind in ("tensor", "pipeline", "context"):
        shared *= parallel.get(f"{kind}_parallel_degree", 1)
    if world % shared:
        return None
    ranks = world // shared
    whole = training.get("global_batch_size", -1)
    whole = local * ranks if whole == -1 else whole
    return None if whole % (local * ranks) else Batch(local, whole // (local * ranks), ranks, whole)


def litgpt(config: Any, world: int) -> Batch | None:
    """litgpt 0.5 args.py#TrainArgs.gradient_accumulation_iters, two floors."""
    train, devices = config["train"], config.get("devices", "auto")
    ranks = (world if devices == "auto" else int(devices)) * config.get("num_nodes", 1)
    steps = train["global_batch_size"] // ranks // train["micro_batch_size"]
    if steps == 0:
        return None
    return Batch(train["micro_batch_size"], steps, ranks, train["micro_batch_size"] * steps * ranks)


def llm_foundry(config: Any, world: int) -> Batch | None:
    """llm-foundry 0.21 utils/config_utils.py#calculate_batch_size_info."""
    config = config.get("parameters", config)
    whole, micro = config.get("global_train_batch_size"), config.get("device_train_microbatch_size")
    if not isinstance(whole, int):
        raise Unsure
    ranks = world
    if whole % ranks:
        return None
    if not isinstance(micro, int):
        return Batch(None, None, ranks, whole)
    micro = min(micro, whole // ranks)
    return Batch(micro, -(-(whole // ranks) // micro), ranks, whole)


def unsloth(config: Any, world: int) -> Batch | None:
    """unsloth 2026-08 studio/backend/core/training/trainer.py line 3328."""
    training = config["training"]
    return per_rank(training.get("batch_size", 2), training.get("gradient_accumulation_steps", 4), world)


def detectron2(config: Any, world: int) -> Batch | None:
    """detectron2 2026-06 data/build.py#build_batch_data_loader, config/defaults.py (16)."""
    whole = at(config, "SOLVER.IMS_PER_BATCH", 16)
    if config.get("_BASE_") or not isinstance(whole, int) or at(config, "SOLVER.REFERENCE_WORLD_SIZE", 0):
        raise Unsure
    return None if whole % world else Batch(whole // world, 1, world, whole)


def dinov2(config: Any, world: int) -> Batch | None:
    """DINOv2 utils/config.py#apply_scaling_rules_to_cfg."""
    return per_rank(at(config, "train.batch_size_per_gpu", 64), 1, world)


def fairseq(config: Any, world: int) -> Batch | None:
    """fairseq 2025-09 trainer.py, dataclass/configs.py; distributed_world_size of the file stands."""
    ranks = at(config, "distributed_training.distributed_world_size", world)
    steps = at(config, "optimization.update_freq", [1])
    steps = steps[0] if isinstance(steps, list) else steps
    micro, tokens = at(config, "dataset.batch_size"), at(config, "dataset.max_tokens")
    if tokens is not None and micro is None and isinstance(tokens, int):
        return per_rank(tokens, steps, ranks)
    if tokens is not None:
        raise Unsure
    return per_rank(micro, steps, ranks)


def fairseq_unit(config: Any) -> str:
    return "samples" if at(config, "dataset.max_tokens") is None else "tokens"


def gpt_neox(config: Any, world: int) -> Batch | None:
    """gpt-neox megatron/neox_arguments/arguments.py#calculate_batch_parameters."""
    config = {key.replace("-", "_"): value for key, value in config.items()}
    shared = max(config.get("pipe_parallel_size", 0), 1) * max(config.get("model_parallel_size", 1), 1)
    if "train_micro_batch_size_per_gpu" not in config or "model_parallel_size" not in config:
        raise Unsure
    if world % shared:
        return None
    whole = config.get("train_batch_size")
    micro, ranks = config["train_micro_batch_size_per_gpu"], world // shared
    steps = config.get("gradient_accumulation_steps", 1 if whole is None else None)
    if whole is None:
        return per_rank(micro, steps, ranks)
    steps = steps or whole // micro // ranks
    return Batch(micro, steps, ranks, whole) if whole == micro * steps * ranks else None


def megatron(config: Any, world: int) -> Batch | None:
    """Megatron-LM 2026-08 core/num_microbatches_calculator.py lines 360-389."""
    flags = config["MODEL_ARGS"]
    shared = 1
    for kind in ("tensor-model", "pipeline-model", "context"):
        shared *= flags.get(f"--{kind}-parallel-size", 1)
    micro, whole = flags.get("--micro-batch-size"), flags.get("--global-batch-size")
    ramps = ("--rampup-batch-size", "--step-batch-size-schedule", "--decrease-batch-size-if-needed", "--yaml-cfg")
    if not isinstance(micro, int) or any(flags.get(key) for key in ramps):
        raise Unsure
    if world % shared:
        return None
    ranks = world // shared
    whole = whole if isinstance(whole, int) else micro * ranks
    return None if whole % (micro * ranks) else Batch(micro, whole // (micro * ranks), ranks, whole)


def nemo(config: Any, world: int) -> Batch | None:
    """NeMo 2025-09 megatron_init.py for language models, Lightning's product for the others."""
    trainer, model = config.get("trainer", {}), config.get("model", {})
    devices, nodes = trainer.get("devices", world), trainer.get("num_nodes", 1)
    if isinstance(devices, list):
        devices = len(devices)
    devices = world if devices in (-1, "auto") else devices
    if not isinstance(devices, int) or not isinstance(nodes, int):
        raise Unsure
    ranks = devices * nodes
    micro, whole = model.get("micro_batch_size"), model.get("global_batch_size")
    if isinstance(micro, int) and isinstance(whole, int):
        shared = model.get("tensor_model_parallel_size", 1) * model.get("pipeline_model_parallel_size", 1)
        shared *= model.get("context_parallel_size", 1)
        if not isinstance(shared, int) or model.get("rampup_batch_size"):
            raise Unsure
        if ranks % shared:
            return None
        ranks //= shared
        return None if whole % (micro * ranks) else Batch(micro, whole // (micro * ranks), ranks, whole)
    data = model.get("train_ds")
    if (
        not isinstance(data, dict)
        or data.get("batch_duration")
        or data.get("use_bucketing")
        or data.get("bucketing_batch_size")
    ):
        raise Unsure
    micro = data.get("batch_size")
    if not isinstance(micro, int):
        raise Unsure
    return per_rank(micro, trainer.get("accumulate_grad_batches", 1), ranks)


def lightning(config: Any, world: int) -> Batch | None:
    """Lightning 2026-07 pytorch/trainer/trainer.py: devices x num_nodes x accumulate_grad_batches."""
    trainer, data = config.get("trainer", {}), config.get("data", {})
    devices, nodes = trainer.get("devices", "auto"), trainer.get("num_nodes", 1)
    devices = len(devices) if isinstance(devices, list) else devices
    devices = world if devices in ("auto", -1, "-1", None) else devices
    micro = at(data, "init_args.batch_size", data.get("batch_size") if isinstance(data, dict) else None)
    if micro is None or not str(devices).isdigit():
        raise Unsure
    return per_rank(micro, trainer.get("accumulate_grad_batches", 1), int(devices) * nodes)


def kohya(config: Any, world: int) -> Batch | None:
    """sd-scripts 2026-02 train_network.py line 985; the GUI hands num_processes to accelerate launch."""
    micro, steps = config.get("train_batch_size", 1), config.get("gradient_accumulation_steps", 1)
    told = config.get("num_processes", "")
    ranks = int(told) if str(told).isdigit() and int(told) > 0 else world
    machines = str(config.get("num_machines", 1))
    if isinstance(micro, str) or machines not in ("0", "1"):
        raise Unsure
    return per_rank(int(micro), int(steps or 1), ranks)


def onetrainer(config: Any, world: int) -> Batch | None:
    """OneTrainer 2026-08 trainer/MultiTrainer.py: one process without multi_gpu; the batch is local."""
    ranks = world if config.get("multi_gpu") else 1
    return per_rank(config.get("batch_size", 1), config.get("gradient_accumulation_steps", 1), ranks)


def speechbrain(config: Any, world: int) -> Batch | None:
    """SpeechBrain 2026-04 core.py lines 276, 663-720 and 836: the options handed to ``Brain.fit``, under DDP."""
    loaders = [config[name] for name in _TRAIN_LOADERS if isinstance(config.get(name), dict)]
    if not loaders or "batch_size" not in loaders[0] or any("dynamic" in key for key in config):
        raise Unsure
    return per_rank(loaders[0]["batch_size"], config.get("grad_accumulation_factor", 1), world)


def fairseq2(config: Any, world: int) -> Batch | None:
    """fairseq2 2026-04 recipe/config.py, recipes/*/config.py: batch_size wins over the bounds."""
    data = config.get("dataset", {})
    micro = data.get("batch_size") or data.get("max_num_tokens") or data.get("max_num_elements")
    if micro is None:
        raise Unsure
    tensor = at(config, "gang.tensor_parallel_size", 1)
    if world % tensor:
        return None
    return per_rank(micro, at(config, "trainer.grad_accumulation.num_batches", 1), world // tensor)


def fairseq2_unit(config: Any) -> str:
    data = config.get("dataset", {})
    return "samples" if data.get("batch_size") else "tokens" if data.get("max_num_tokens") else "elements"


ORACLES: dict[str, Oracle] = {
    "accelerate": Oracle(plain, accelerate, samples),
    "axolotl": Oracle(plain, axolotl, samples),
    "deepspeed": Oracle(plain, deepspeed, samples),
    "detectron2": Oracle(plain, detectron2, samples),
    "dinov2": Oracle(omega, dinov2, samples),
    "fairseq": Oracle(omega, fairseq, fairseq_unit),
    "fairseq2": Oracle(plain, fairseq2, fairseq2_unit),
    "gpt_neox": Oracle(plain, gpt_neox, samples),
    "hf_trainer": Oracle(plain, transformers, samples),
    "kohya": Oracle(objects, kohya, images),
    "lightning": Oracle(plain, lightning, samples),
    "litgpt": Oracle(plain, litgpt, samples),
    "llamafactory": Oracle(omega, llamafactory, llamafactory_unit),
    "llm_foundry": Oracle(omega, llm_foundry, samples),
    "megatron": Oracle(plain, megatron, samples),
    "nemo": Oracle(omega, nemo, samples),
    "onetrainer": Oracle(objects, onetrainer, images),
    "speechbrain": Oracle(hyper, speechbrain, samples),
    "torchtitan": Oracle(toml, torchtitan, samples),
    "torchtune": Oracle(plain, torchtune, samples),
    "trl": Oracle(plain, transformers, trl_unit),
    "unsloth": Oracle(plain, unsloth, samples),
}

_TRAIN_LOADERS = ("train_dataloader_opts", "train_dataloader_options", "train_loader_kwargs", "train_loader_options",
                  "dataloader_opts", "dataloader_options")  # fmt: skip


class Case(NamedTuple):
    """A real file, its unit and its expected batch at each of ``GPUS``."""

    path: str
    unit: str
    batches: tuple[Batch | None, ...]


def case_of(name: str, path: Path, shown: str) -> Case | None:
    """The oracle's answer, None where it has none for some number of GPUs."""
    oracle = ORACLES[name]
    try:
        config = oracle.load(path)
        if not isinstance(config, dict):
            return None
        config["__path__"] = shown
        batches = tuple(oracle.batch(config, gpus) for gpus in GPUS)
    except (yaml.YAMLError, ValueError, Unsure):
        return None
    return Case(shown, oracle.unit(config), batches)


def agrees(told: Batch, expected: Batch | None) -> bool:
    """Whether ``told`` is the expected batch; where the framework stops, ranks or effective batch are unknown."""
    return None in (told.ranks, told.effective) if expected is None else told == expected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument(
        "--write", action="store_true", help=f"write up to {_CASES_EACH} cases a dialect into {TABLE.name}"
    )
    arguments = parser.parse_args()
    if arguments.write:
        TABLE.write_text(table(arguments.corpus), encoding="utf-8")
        return 0
    return compare(arguments.corpus)


def table(corpus: Path) -> str:
    """The chosen cases as text, a line each, evenly spread over each dialect's files in the order of their paths."""
    cases: dict[str, list[Case]] = defaultdict(list)
    for path, dialect, _told in readings(corpus):
        case = case_of(dialect, path, str(path.relative_to(corpus))) if dialect in ORACLES else None
        if case is not None:
            cases[dialect].append(case)
    lines = ["# Written by tools/plan_oracle.py --write: micro x steps x ranks = effective at 1, 2, 3 and 8 GPUs."]
    for dialect, found in sorted(cases.items()):
        step = max(1, len(found) // _CASES_EACH)
        lines.append(f"# {dialect}: {(ORACLES[dialect].batch.__doc__ or dialect).strip()}")
        for case in found[::step][:_CASES_EACH]:
            told = " | ".join(spelled(batch) for batch in case.batches)
            lines.append(f"{dialect} | {case.path} | {case.unit} | {told}")
    return "\n".join(lines) + "\n"


def spelled(batch: Batch | None) -> str:
    """``4x8x2=64``; ``?`` for what only the run knows, ``stops`` where the framework does."""
    if batch is None:
        return "stops"
    micro, steps, ranks, effective = ("?" if item is None else str(item) for item in batch)
    return f"{micro}x{steps}x{ranks}={effective}"


def compare(corpus: Path) -> int:
    """Print every file on which vramlint and the oracle differ."""
    agreed: dict[str, int] = defaultdict(int)
    silent: dict[str, int] = defaultdict(int)
    wrong = 0
    for path, dialect, told in readings(corpus):
        if dialect not in ORACLES:
            silent[dialect] += 1
            continue
        case = case_of(dialect, path, str(path.relative_to(corpus)))
        if case is None:
            silent[dialect] += 1
            continue
        unlike = [
            f"   {gpus} GPUs: vramlint {unit} {tuple(ours)}, oracle {case.unit} {theirs and tuple(theirs)}"
            for gpus, (unit, ours), theirs in zip(GPUS, told, case.batches, strict=True)
            if unit != case.unit or not agrees(ours, theirs)
        ]
        if not unlike:
            agreed[dialect] += 1
            continue
        wrong += 1
        print(f"{dialect} {case.path}", *unlike, sep="\n")
    for name in sorted({*agreed, *silent}):
        print(f"{name:16} agree {agreed[name]:4}   no oracle {silent[name]:4}")
    print(f"{sum(agreed.values())} files agree, {wrong} differ")
    return 1 if wrong else 0


def readings(corpus: Path) -> Iterator[tuple[Path, str, list[tuple[str, Batch]]]]:
    """vramlint's own answers, file by file."""
    from vramlint import sources
    from vramlint.dialects import registry
    from vramlint.errors import SourceError
    from vramlint.hardware.model import Target
    from vramlint.project.units import FileContext, Project

    project = Project()
    for path in sorted(corpus.rglob("*")):
        if not path.is_file() or sources.syntax_of(path.name) is None:
            continue
        try:
            document = project.files.document(str(path))
        except SourceError:
            continue
        for claim in registry.claims(document):
            told = []
            for gpus in GPUS:
                context = FileContext(project, str(path), Target(None, gpus, source="--gpus"))
                plan = registry.dialect(claim.dialect).read(claim, document, context).plan
                facts = (plan.micro_batch, plan.accumulation, plan.data_parallel, plan.effective_batch)
                told.append((str(plan.batch_unit.value), Batch(*(fact.value for fact in facts))))
            yield path, claim.dialect, told


if __name__ == "__main__":
    sys.exit(main())
