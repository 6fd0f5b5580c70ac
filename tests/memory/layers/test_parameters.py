"""Parameters of whole models, against the counts of mmdet 3.3.0's and mmaction2 1.2.0's own builds.

``parameters.json`` holds, by configuration file of the packages' wheels, the parameters of the model that the package
built (on torch's meta device) and how many of them are trained. Read where the wheels are at hand.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.mm_agree import Wheel
from vramlint.memory.layers import LayerModel, UnknownType

COUNTS: dict[str, list[int]] = json.loads((Path(__file__).parent / "parameters.json").read_text(encoding="utf-8"))
WHEELS = sorted(str(path) for path in (Path(__file__).parents[3] / ".cache/wheels").glob("mmdet-3.3.0-*.whl"))


@pytest.mark.skipif(not WHEELS, reason="the mmdet 3.3.0 wheel is not at hand (tools/fetch_wheels.sh)")
def test_parameters_are_those_of_the_package() -> None:
    wheel = Wheel(WHEELS)
    differing = []
    for name, (parameters, trainable) in COUNTS.items():
        plan = wheel.plan(f"mmdet/.mim/configs/{name}")
        assert plan is not None, name
        tree = plan.fact("architecture").value
        assert tree is not None, name
        try:
            model = LayerModel(tree, str(tree["_scope"]) or "mmdet")
        except UnknownType as error:
            differing.append(f"{name}: {error}")
            continue
        if (model.parameters, model.trainable) != (parameters, trainable):
            differing.append(f"{name}: {model.parameters} {model.trainable} instead of {parameters} {trainable}")
    assert not differing
