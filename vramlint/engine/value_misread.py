"""A value that the framework's loader reads as something else than it looks.

Why: loaders differ. PyYAML reads ``1e-4`` without a dot as a text and ``on`` as true; the run starts with the wrong
type, and fails late or, worse, does not fail.

Example: ``learning_rate: 1e-4`` in a file that PyYAML loads.

Fix safety: none. Spell the value as the help says.

Sources: YAML 1.1, type repository (``float``); PyYAML 6.0 ``resolver.py`` (its float needs a dot); transformers 5.23.0
``hf_argparser.py#parse_yaml_file``.

Dialects find this while they read, since each knows its own loader; the rule itself only names it.
"""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict

RULE = RuleInfo(
    code="VL001",
    name="value-misread",
    summary="a value that the framework's loader reads as something else than it looks",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    fix=None,
    sources=("https://yaml.org/type/float.html", "https://github.com/yaml/pyyaml/issues/173"),
)
_HF = "output_dir: out\nper_device_train_batch_size: 4\nlearning_rate: {}\n"
VALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("1.0e-4")),
    Case("sft.yaml", _HF.format("0.0001")),
)
INVALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("1e-4")),
    Case("sft.yaml", _HF.format("2e-5")),
)


def check(_run: Run) -> Iterator[Verdict]:
    """Says nothing of a run: the dialect that read it has said it."""
    yield from ()
