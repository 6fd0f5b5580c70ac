"""A batch of completions that is not a whole number of groups.

Why: GRPO compares the completions of one prompt with each other. A generation batch that does not divide by the size
of the group would tear a group apart, so the trainer refuses to start.

Example: ``per_device_train_batch_size: 3`` on 3 GPUs is a generation batch of 9; groups of 8 do not fill it.

Fix safety: no fix; batch, accumulation and group size are all part of the experiment.

Sources: TRL 1.16 ``trainer/grpo_config.py#__post_init__`` (``generation_batch_size`` is ``per_device_train_batch_size``
x ranks x ``steps_per_generation``, which is the accumulation unless it is given); axolotl 0.19
``utils/schemas/validation.py`` lines 820-866 (``micro_batch_size`` x ``gradient_accumulation_steps``, without ranks).
"""

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict

RULE = RuleInfo(
    code="VL114",
    name="groups-not-whole",
    summary="a batch of completions that is not a whole number of groups",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=(
        "https://github.com/huggingface/trl/blob/main/trl/trainer/grpo_config.py",
        "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py",
    ),
)

_TRL = "model_name_or_path: a/b\nper_device_train_batch_size: {}\nnum_generations: 8\nlearning_rate: 1.0e-6\n"
_AXOLOTL = (
    "base_model: a/b\ndatasets: [{{path: c}}]\nrl: grpo\nmicro_batch_size: {}\ngradient_accumulation_steps: 2\n"
    "trl: {{num_generations: 8}}\n"
)
VALID = (
    Case("grpo.yaml", _TRL.format(8), gpus=3),
    Case("grpo.yaml", _TRL.format(3), gpus=8),
    Case("grpo.yaml", _TRL.format(3)),
    Case("grpo.yaml", _TRL.format(3) + "gradient_accumulation_steps: 8\n", gpus=1),
    Case("grpo.yaml", _TRL.format(3) + "generation_batch_size: 16\n", gpus=2),
    Case("grpo.yaml", _TRL.format(3) + "use_vllm: true\n", gpus=3),
    Case("grpo.yml", _AXOLOTL.format(4), gpus=1),
)
INVALID = (
    Case("grpo.yaml", _TRL.format(3), gpus=3),
    Case("grpo.yaml", _TRL.format(4) + "gradient_accumulation_steps: 4\nsteps_per_generation: 1\n", gpus=1),
    Case("grpo.yml", _AXOLOTL.format(3), gpus=8),
)


def check(run: Run) -> Iterator[Verdict]:
    """The generation batch over the size of a group."""
    axolotl = run.plan.dialect == "axolotl"
    grouped = run.setting("rl").value == "grpo" if axolotl else run.plan.batch_unit.value == "completions"
    if not grouped:
        return
    group = run.setting("trl.num_generations" if axolotl else "num_generations").value
    given = run.setting("trl.generation_batch_size" if axolotl else "generation_batch_size")
    if not isinstance(group, int) or isinstance(group, bool) or group < 2:
        return
    if given.value is not None or (not given.known and given.location is not None):
        return  # a row of the framework's own looks at it
    if run.setting("use_vllm").value and not run.plan.world_size.spelled:
        return  # vLLM may have a GPU of the machine to itself: how many ranks train, only a launch line says
    found = _generation_batch(run, with_ranks=not axolotl)
    if found is None or found[0] % group == 0:
        return
    batch, told = found
    yield Verdict(
        "micro_batch",
        f"a generation batch of {told} is no whole number of groups of {group}: the trainer stops at its start",
        label=f"{batch} / {group} = {batch / group:.4g} groups",
        help=f"Make it a multiple of num_generations {group}",
    )


def _generation_batch(run: Run, *, with_ranks: bool) -> tuple[int, str] | None:
    """Completions that are generated at once, and how that number comes about; None where a factor is unknown."""
    plan = run.plan
    micro, ranks = plan.micro_batch.value, plan.data_parallel.value if with_ranks else 1
    steps = run.setting("steps_per_generation") if with_ranks else None
    count = plan.accumulation.value if steps is None or steps.value is None else steps.value
    if steps is not None and not steps.known and steps.location is not None:
        return None
    if not micro or not ranks or not isinstance(count, int):
        return None
    shared = f" x {ranks} GPUs" if with_ranks else ""
    steps_told = "1 step" if count == 1 else f"{count} steps"
    return micro * count * ranks, f"{micro}{shared} x {steps_told} = {micro * count * ranks}"
