"""The frameworks' own batch arithmetic, called: vramlint agrees over a grid of settings and ranks.

Each framework is run from its published source (``framework_source``), so neither torch nor a GPU is needed; where it
refuses a setting, vramlint gives no effective batch.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace as Object
from typing import Any

import pytest

from tests.dialects.framework_source import functions, source, statements
from tests.dialects.support import Surroundings, reading

Told = tuple[int | None, int | None, int | None]
"""Micro batch, accumulation and effective batch; all None where the framework refuses."""
REFUSED: Told = (None, None, None)
RANKS = (1, 2, 3, 4, 8)


def ours(path: str, text: str, ranks: int, launch: str = "") -> Told:
    plan = reading(path, text, Surroundings(gpus=ranks, launched_by=launch)).plan
    if plan.effective_batch.value is None or plan.data_parallel.value is None:
        return REFUSED
    return plan.micro_batch.value, plan.accumulation.value, plan.effective_batch.value


def theirs(answer: Callable[[], Told]) -> Told:
    try:
        return answer()
    except (AssertionError, ValueError):
        return REFUSED


def grid(*axes: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    return itertools.product(*axes, RANKS)


def test_litgpt() -> None:
    text = source("litgpt-0.5.13-*.whl", "litgpt/args.py")
    batch_size, iterations = functions(text, "TrainArgs.batch_size", "TrainArgs.gradient_accumulation_iters")
    for total, micro, ranks in grid((6, 8, 16, 64, 512), (1, 2, 3, 5)):
        args = Object(global_batch_size=total, micro_batch_size=micro)
        args.batch_size = lambda devices, nodes, args=args: batch_size(args, devices, nodes)

        def answer(args: Any = args, micro: int = micro, ranks: int = ranks) -> Told:
            steps = iterations(args, ranks, 1)
            return micro, steps, micro * steps * ranks

        text_ = f"devices: auto\ntrain:\n  global_batch_size: {total}\n  micro_batch_size: {micro}\n"
        assert ours("x.yaml", text_, ranks) == theirs(answer), (total, micro, ranks)


def test_llm_foundry() -> None:
    text = source("llm_foundry-0.22.0-*.whl", "llmfoundry/utils/config_utils.py")
    for total, micro, ranks in grid((8, 24, 64, 100), (1, 3, 4, 16)):
        world = Object(get_world_size=lambda ranks=ranks: ranks)
        (info,) = functions(text, "calculate_batch_size_info", dist=world, math=math, log=logging.getLogger("x"))

        def answer(total: int = total, micro: int = micro, info: Callable[..., Any] = info) -> Told:
            _share, size, steps = info(total, micro)
            return size, steps, total

        text_ = (
            "model: {name: mpt_causal_lm}\ntrain_loader: {name: text}\nmax_duration: 1ba\n"
            f"global_train_batch_size: {total}\ndevice_train_microbatch_size: {micro}\n"
        )
        assert ours("x.yaml", text_, ranks) == theirs(answer), (total, micro, ranks)


def test_megatron() -> None:
    text = source("megatron_core-*.whl", "megatron/core/num_microbatches_calculator.py")
    (init,) = functions(text, "ConstantNumMicroBatchesCalculator.__init__", logger=logging.getLogger("x"))
    for total, micro, tensor, ranks in grid((8, 24, 64), (1, 2, 3), (1, 2)):

        def answer(total: int = total, micro: int = micro, shards: int = tensor, ranks: int = ranks) -> Told:
            assert ranks % shards == 0  # arguments.py lines 432-448 stop before the calculator is made
            made = Object()
            init(made, total, micro, ranks // shards, False, 1)
            return micro, made.num_micro_batches, made.current_running_global_batch_size

        text_ = (
            f"torchrun --nproc_per_node={ranks} pretrain_gpt.py --micro-batch-size {micro} "
            f"--global-batch-size {total} --tensor-model-parallel-size {tensor}\n"
        )
        assert ours("x.sh", text_, ranks) == theirs(answer), (total, micro, tensor, ranks)


_KEYS = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")


def test_deepspeed() -> None:
    text = source("deepspeed-0.19.8*", "deepspeed/runtime/config.py")
    fill, check = functions(
        text, *(f"DeepSpeedConfig.{name}" for name in ("_set_batch_related_parameters", "_batch_assertion"))
    )
    for total, micro, steps, ranks in grid((None, 8, 24, 64), (None, 1, 3, 4), (None, 1, 2, 4)):
        if total is None and micro is None:
            continue  # part of a file: DeepSpeed alone would stop, a Trainer fills the rest in

        def answer(given: tuple[int | None, ...] = (total, micro, steps), ranks: int = ranks) -> Told:
            config = Object(**dict(zip(_KEYS, given, strict=True)), world_size=ranks)
            fill(config)
            check(config)
            return config.train_micro_batch_size_per_gpu, config.gradient_accumulation_steps, config.train_batch_size

        given = {key: value for key, value in zip(_KEYS, (total, micro, steps), strict=True) if value is not None}
        text_ = json.dumps({**given, "zero_optimization": {"stage": 2}})
        assert ours("ds.json", text_, ranks) == theirs(answer), (given, ranks)


def test_transformers() -> None:
    text = source("transformers-5.24.0-*.whl", "transformers/trainer.py")
    (total,) = functions(text, "Trainer.get_total_train_batch_size")
    for micro, steps, ranks in grid((1, 3, 8), (1, 4, 6)):
        one = {f"get_{kind}_size": lambda: 1 for kind in ("tp", "cp", "sp")}
        trainer, args = (
            Object(_train_batch_size=micro, **one),
            Object(world_size=ranks, gradient_accumulation_steps=steps),
        )
        text_ = (
            f"output_dir: o\nlearning_rate: 0.1\nper_device_train_batch_size: {micro}\n"
            f"gradient_accumulation_steps: {steps}\n"
        )
        assert ours("x.yaml", text_, ranks) == (micro, steps, total(trainer, args)), (micro, steps, ranks)


def test_ultralytics() -> None:
    text = source("ultralytics-8.4.190-*.whl", "ultralytics/engine/trainer.py")
    nominal = statements(
        text, "BaseTrainer._build_train_pipeline", "value=Call(func=Name(id='max'", max=max, round=round
    )
    for batch, nbs, ranks in grid((8, 16, 24, 42, 43, 48, 96, 128), (20, 64, 100)):
        if batch % ranks:
            continue  # the loaders of the ranks floor their share: vramlint names no micro batch then
        trainer = Object(batch_size=batch, args=Object(nbs=nbs, weight_decay=0.0, time=True))
        nominal(self=trainer)
        device = ",".join(map(str, range(ranks)))
        text_ = f"yolo detect train model=yolo11n.pt data=a.yaml batch={batch} nbs={nbs} device={device}\n"
        expected = (batch // ranks, trainer.accumulate, batch * trainer.accumulate)
        assert ours("x.sh", text_, ranks) == expected, (batch, nbs, ranks)


def test_torchtitan() -> None:
    text = source("torchtitan-0.3.0-*.whl", "torchtitan/trainer.py")
    verify = statements(text, "Trainer.__init__", "Name(id='global_batch_size'")
    for total, local, tensor, ranks in grid((-1, 8, 24, 48), (1, 2, 3), (1, 2)):

        def answer(total: int = total, local: int = local, tensor: int = tensor, ranks: int = ranks) -> Told:
            assert ranks % tensor == 0  # parallel_dims.py: the degrees multiply to the world
            training = Object(global_batch_size=total, local_batch_size=local)
            trainer, degree = Object(), ranks // tensor
            parallel = Object(pp_enabled=False)
            verify(self=trainer, config=Object(training=training), batch_degree=degree, parallel_dims=parallel)
            steps = trainer.gradient_accumulation_steps
            return local, steps, local * steps * degree

        text_ = (
            "[model]\nname = 'llama3'\nflavor = '8B'\n[training]\nseq_len = 512\n"
            f"local_batch_size = {local}\nglobal_batch_size = {total}\n"
            f"[parallelism]\ntensor_parallel_degree = {tensor}\n"
        )
        assert ours("x.toml", text_, ranks) == theirs(answer), (total, local, tensor, ranks)


def test_axolotl() -> None:
    text = source("axolotl-0.19.0-*.whl", "axolotl/utils/config/__init__.py")
    normalize = statements(text, "normalize_config", "gradient_accumulation_steps")
    for micro, steps, whole, ranks in grid((1, 2, 4), (None, 1, 8), (None, 8, 16)):
        if steps is not None and whole is not None:
            continue  # check_gas_bsz refuses both
        if steps is None and whole is None:
            continue  # and neither
        config = Object(micro_batch_size=micro, gradient_accumulation_steps=steps, batch_size=whole, use_ray=False)
        normalize(cfg=config)
        lines = [f"micro_batch_size: {micro}"]
        lines += [f"gradient_accumulation_steps: {steps}"] if steps else []
        lines += [f"batch_size: {whole}"] if whole else []
        text_ = "base_model: a/b\ndatasets: [{path: c}]\nsequence_len: 8\n" + "\n".join(lines)
        expected = (micro, config.gradient_accumulation_steps, config.batch_size * ranks)
        assert ours("x.yml", text_, ranks) == expected, (micro, steps, whole, ranks)


@pytest.mark.parametrize("batch", [16, 24, 48])
@pytest.mark.parametrize("reference", [0, 2, 8])
def test_detectron2_and_yacs(batch: int, reference: int) -> None:
    """``auto_scale_workers`` of engine/defaults.py, over a config that yacs itself reads."""
    node = pytest.importorskip("yacs.config").CfgNode
    solver = f"{{IMS_PER_BATCH: {batch}, REFERENCE_WORLD_SIZE: {reference}}}"
    text = f"VERSION: 2\nMODEL: {{META_ARCHITECTURE: RetinaNet}}\nSOLVER: {solver}\n"
    config = node.load_cfg(text)
    for ranks in RANKS:
        scaled = config.SOLVER.IMS_PER_BATCH
        if config.SOLVER.REFERENCE_WORLD_SIZE not in (0, ranks):
            scaled = round(scaled * ranks / config.SOLVER.REFERENCE_WORLD_SIZE)
        expected = REFUSED if scaled % ranks else (scaled // ranks, 1, scaled)
        assert ours("x.yaml", text, ranks) == expected, ranks
