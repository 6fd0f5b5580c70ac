"""A value that the framework's loader reads as something else than it looks.

Why: loaders differ. PyYAML reads ``1e-4`` without a dot as a text and ``on`` as true; the run starts with the wrong
type, and fails late or, worse, does not fail.

Example: ``learning_rate: 1e-4`` in a file that PyYAML loads.

Fix safety: none. Spell the value as the help says.

Sources: YAML 1.1, type repository (``float``); PyYAML 6.0 ``resolver.py`` (its float needs a dot); transformers 5.23.0
``hf_argparser.py#parse_yaml_file``.

Some dialects find this while they read, since what harms depends on who reads the file; for the others a table says
which keys of theirs a loader may take as something else (``vramlint/dialects/misreadings.py``).
"""

from __future__ import annotations

from collections.abc import Iterator

from vramlint.dialects.draft import value_misread
from vramlint.dialects.model import Reading
from vramlint.findings import Finding
from vramlint.fix.edits import location_of
from vramlint.rule import Case, Confidence, RuleInfo, Run, Severity, Verdict
from vramlint.sources.model import Mapping, Scalar, Syntax, lookup

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
_YOLO = "task: detect\nmode: train\nmodel: yolo11n.pt\ndata: coco8.yaml\nepochs: 3\nimgsz: 640\nbatch: 16\nlr0: {}\n"
VALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("1.0e-4")),
    Case("sft.yaml", _HF.format("0.0001")),
    Case("yolo.yaml", _YOLO.format("1.0e-2")),
)
INVALID: tuple[Case, ...] = (
    Case("sft.yaml", _HF.format("1e-4")),
    Case("sft.yaml", _HF.format("2e-5")),
    Case("yolo.yaml", _YOLO.format("1e-2")),
)


def check(_run: Run) -> Iterator[Verdict]:
    """Says nothing of a run: the dialect that read it has said it, or ``findings`` do."""
    yield from ()


def findings(reading: Reading) -> Iterator[Finding]:
    """One finding for each scalar of a claimed YAML file that its loader takes as something else."""
    document = reading.document
    if document.syntax is not Syntax.YAML or not isinstance(document.root, Mapping):
        return
    from vramlint.dialects import misreadings

    for row in misreadings.ROWS.get(reading.plan.dialect, ()):
        for key in row.keys:
            node = lookup(document.root, key)
            found = misreadings.misread(node, row) if isinstance(node, Scalar) else None
            if found is not None and isinstance(node, Scalar):
                where = location_of(document, node.span)
                yield value_misread(where, f"{key}: {found.message}", found.help, reading.plan.title)
