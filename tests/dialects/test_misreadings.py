"""Scalars that a loader takes as something else: the loader itself is called, and what the framework then does.

A value that is written well, in any of the ways people write it, makes no finding.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
import yaml

from vramlint.dialects.misreadings import ROWS
from vramlint.engine import CheckOptions, check_source

ULTRALYTICS = "task: detect\nmode: train\nmodel: yolo11n.pt\ndata: coco8.yaml\nepochs: 3\nimgsz: 640\nbatch: 16\n"
ESPNET = "batch_type: numel\nbatch_bins: 1000000\naccum_grad: 2\nmax_epoch: 50\noptim: adam\noptim_conf:\n    "
DETECTRON = (
    "MODEL:\n  META_ARCHITECTURE: GeneralizedRCNN\n  WEIGHTS: w.pkl\nVERSION: 2\nDATASETS:\n  TRAIN: (a,)\n"
    "SOLVER:\n  STEPS: (60000, 80000)\n  IMS_PER_BATCH: 16\n  "
)
SPEECH = "number_of_epochs: 3\nbatch_size: 8\nmodel: !new:torch.nn.Linear\n  in_features: 4\n  out_features: 4\n"
TUNE = (
    "batch_size: 2\nepochs: 1\ngradient_accumulation_steps: 1\n"
    "model:\n  _component_: torchtune.models.llama3.llama3_8b\n"
    "tokenizer:\n  _component_: torchtune.models.llama3.llama3_tokenizer\n"
    "optimizer:\n  _component_: torch.optim.AdamW\n"
)


class Case(NamedTuple):
    text: str
    says: str
    """A part of the finding's message; empty where there must be none."""


CASES = [
    Case(ULTRALYTICS + "lr0: 1e-2\n", "lr0: 1e-2 is a text"),
    Case(ULTRALYTICS + "lr0: 1.0e-2\n", ""),
    Case(ULTRALYTICS + "lr0: 0.01\n", ""),
    Case(ULTRALYTICS + "lr0: 1.e-2\n", ""),
    Case(ULTRALYTICS + "weight_decay: 5E-4 # comment\n", "weight_decay: 5E-4 is a text"),
    Case(ULTRALYTICS + "time: 1:30\n", "time: 1:30 is sexagesimal for this loader: 90"),
    Case(ULTRALYTICS + "seed: 010\n", "seed: 010 is octal for this loader: 8"),
    Case(ULTRALYTICS + "seed: 007\n", ""),
    Case(ULTRALYTICS + "seed: 0\n", ""),
    Case(ULTRALYTICS + "patience: None\n", "patience: None is a text"),
    Case(ULTRALYTICS + "patience: null\n", ""),
    Case(ULTRALYTICS + "time: ~\n", ""),
    Case(ESPNET + "lr: 1e-4\n", "optim_conf.lr: 1e-4 is a text"),
    Case(ESPNET + "lr: 1.0e-4\n", ""),
    Case(ESPNET + "lr: 0.002\n", ""),
    Case(DETECTRON.replace("16", "1,600") + "MAX_ITER: 90000\n", "SOLVER.IMS_PER_BATCH: 1,600 is a tuple"),
    Case(DETECTRON + "MAX_ITER: 90000\n", ""),
    Case(DETECTRON + "MAX_ITER: 9e4\n", "SOLVER.MAX_ITER: 9e4 is no whole number"),
    Case(DETECTRON + "MAX_ITER: 90_000\n", ""),
    Case(DETECTRON + "WEIGHT_DECAY: 0\n", "SOLVER.WEIGHT_DECAY: 0 is a whole number"),
    Case(DETECTRON + "WEIGHT_DECAY: 0.0\n", ""),
    Case(DETECTRON + "BASE_LR: 1e-4\n", ""),
    Case(DETECTRON + "BASE_LR: None\n", ""),
    Case(SPEECH + "auto_mix_prec: no\n", "auto_mix_prec: no is a text"),
    Case(SPEECH + "auto_mix_prec: False\n", ""),
    Case(SPEECH + "train_dataloader_opts:\n  shuffle: yes\n", "train_dataloader_opts.shuffle: yes is a text"),
    Case(SPEECH + "train_dataloader_opts:\n  shuffle: True\n", ""),
    Case(TUNE + "clip_grad_norm: None\n", "clip_grad_norm: None is a text"),
    Case(TUNE + "clip_grad_norm: null\n", ""),
    Case(TUNE + "clip_grad_norm: 1e-1\n", ""),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.text.rstrip().rsplit("\n", 1)[-1].strip())
def test_what_is_misread(case: Case) -> None:
    result = check_source("config.yaml", case.text.encode(), CheckOptions(select=("VL001",), isolated=True))
    assert result.runs, "not recognised"
    assert [case.says for finding in result.findings if case.says and case.says in finding.message] == (
        [case.says] if case.says else []
    )
    assert len(result.findings) == bool(case.says)


def test_quoted_and_interpolated_values_are_left_alone() -> None:
    for value in ('"1e-2"', "'1e-2'", "!!str 1e-2"):
        result = check_source(
            "c.yaml", f"{ULTRALYTICS}lr0: {value}\n".encode(), CheckOptions(select=("VL001",), isolated=True)
        )
        assert not result.findings


def test_ultralytics_stops_at_a_text() -> None:
    from tests.rules.witnesses.archives import found, text_of

    if found("ultralytics-*.whl") is None:
        pytest.skip("ultralytics missing: run tools/fetch_wheels.sh")
    source = text_of("ultralytics-*.whl", "ultralytics/cfg/__init__.py")
    stated = source[source.index("CFG_FLOAT_KEYS") : source.index("CFG_BOOL_KEYS")]
    (row,) = ROWS["ultralytics"]
    assert [key for key in row.keys if f'"{key}"' not in stated] == []
    assert "is of invalid type {type(v).__name__}" in source
    assert yaml.safe_load("1e-2") == "1e-2"
    assert yaml.safe_load("1:30") == 90


def test_yacs_stops_at_another_type() -> None:
    config = pytest.importorskip("yacs.config").CfgNode
    defaults = config({"SOLVER": {"BASE_LR": 0.001, "IMS_PER_BATCH": 16}})
    for text in ("SOLVER: {BASE_LR: 1}", "SOLVER: {IMS_PER_BATCH: 1.6e1}", "SOLVER: {IMS_PER_BATCH: '1,600'}"):
        with pytest.raises((ValueError, TypeError)):
            defaults.clone().merge_from_other_cfg(config(yaml.safe_load(text)))
    merged = defaults.clone()
    merged.merge_from_other_cfg(config(yaml.safe_load("SOLVER: {BASE_LR: 1e-4, IMS_PER_BATCH: 8}")))
    assert (merged.SOLVER.BASE_LR, merged.SOLVER.IMS_PER_BATCH) == (1e-4, 8)


def test_what_torch_does_with_texts() -> None:
    """ESPnet's optimizer stops, SpeechBrain's loader shuffles, torchtune's clipping stops."""
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError):
        torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=yaml.safe_load("1e-4"))
    loader = torch.utils.data.DataLoader([1, 2], shuffle="no")
    assert isinstance(loader.sampler, torch.utils.data.RandomSampler)
    with pytest.raises(ValueError, match="could not convert"):
        float("None")


def test_yaml_1_2_has_no_no() -> None:
    from ruamel.yaml import YAML

    assert YAML(typ="safe", pure=True).load("no") == "no"
    assert YAML(typ="safe", pure=True).load("False") is False
