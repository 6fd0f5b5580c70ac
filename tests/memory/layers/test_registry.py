"""The registry finds a builder in its own module, without importing all others."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vramlint.memory.layers import registry


@pytest.mark.parametrize("kind", registry.KINDS)
def test_the_decorators_in_the_sources_say_where_each_name_is(kind: str) -> None:
    spelled = registry.places().get(kind, {})
    for name in registry.known(kind):
        assert name in spelled, f"{kind} {name} is registered by no decorator that the sources spell"
        assert registry._TABLES[kind][name].__module__ == f"vramlint.memory.layers.{spelled[name]}"


def test_one_model_imports_its_own_modules_only() -> None:
    code = (
        "import sys; from vramlint.memory.layers import registry; registry.find('backbone', 'ResNet', 'mmseg');"
        "print(any(name.startswith('vramlint.memory.layers.heads.detection') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
