"""Values that several Python files tell together."""

from __future__ import annotations

import pytest

from vramlint.sources.model import Document, Mapping, Node, Scalar, apply_edits, lookup, plain
from vramlint.sources.python_edits import insert_entry, replace_value
from vramlint.sources.python_project import PythonProject, Resolved
from vramlint.sources.python_reader import parse


class Files:
    """A project in memory."""

    def __init__(self, files: dict[str, str] | None = None, **more: str) -> None:
        texts = {**(files or {}), **{f"{name}.py": text for name, text in more.items()}}
        self.documents = {name: parse(text, name) for name, text in texts.items()}

    def read(self, path: str) -> Document | None:
        return self.documents.get(path)

    def project(self) -> PythonProject:
        return PythonProject(self.read)

    def module(self, path: str) -> Resolved:
        resolved = self.project().module(path)
        assert resolved is not None
        return resolved

    def class_(self, path: str, name: str) -> Resolved:
        document = self.documents[path]
        definition = next(found for found in document.definitions if found.name == name)
        return self.project().class_(document, definition)


def scalar(node: Node | None) -> Scalar:
    assert isinstance(node, Scalar)
    return node


@pytest.mark.parametrize(
    "importing",
    ["from src.base import Base\n", "from .base import Base\n", "from src import base\nBase = base.Base\n"],
)
def test_class_inheritance_across_files(importing: str) -> None:
    bases = "base.Base" if "import base" in importing else "Base"
    files = Files(
        {
            "src/base.py": "class Root:\n    epochs = 3\nclass Base(Root):\n    batch = 64\n    queue: int = 65536\n",
            "src/config.py": f"{importing}\nclass Config({bases}):\n    batch: int = 96\n",
        }
    )
    resolved = files.class_("src/config.py", "Config")
    assert plain(resolved.mapping) == {"epochs": 3, "batch": 96, "queue": 65536}
    assert resolved.missing == []
    where = {entry.key: (resolved.owner(entry).path, entry.merged) for entry in resolved.mapping.entries}
    assert where == {
        "epochs": ("src/base.py", True),
        "queue": ("src/base.py", True),
        "batch": ("src/config.py", False),
    }


def test_an_inherited_value_is_edited_where_it_is_spelled() -> None:
    files = Files(
        base="class Base:\n    queue: int = 65536  # c\n", config="from base import Base\nclass C(Base): pass\n"
    )
    resolved = files.class_("config.py", "C")
    entry = resolved.mapping.entry("queue")
    assert entry is not None
    owner = resolved.owner(entry)
    edit = replace_value(owner, entry.value, 76800)
    assert apply_edits(owner.text, [edit]) == "class Base:\n    queue: int = 76800  # c\n"


def test_a_new_attribute_goes_into_the_class_itself() -> None:
    files = Files(
        base="class Base:\n    a: int = 1\n", config="from base import Base\nclass C(Base):\n    b: int = 2\n"
    )
    resolved = files.class_("config.py", "C")
    edit = insert_entry(files.documents["config.py"], resolved.original(resolved.mapping), "new", 4, None)
    edited = apply_edits(files.documents["config.py"].text, [edit])
    assert edited == "from base import Base\nclass C(Base):\n    b: int = 2\n    new: int = 4\n"


def test_a_base_that_cannot_be_read_is_named() -> None:
    resolved = Files(config="from other import Base\nclass C(Base):\n    a = 1\n").class_("config.py", "C")
    assert (resolved.missing, plain(resolved.mapping)) == (["Base"], {"a": 1})
    assert Files(config="class C(BaseModel):\n    a = 1\n").class_("config.py", "C").missing == []


def test_a_class_passed_on_by_a_package() -> None:
    files = Files(
        {"src/__init__.py": "from .base import Base\n", "src/base.py": "class Base:\n    a = 1\n"},
        c="from src import Base\nclass C(Base): pass\n",
    )
    assert plain(files.class_("c.py", "C").mapping) == {"a": 1}


def test_endless_inheritance_and_imports_end() -> None:
    files = Files(
        a="from b import B\n_base_ = './b.py'\nclass A(B): x = 1\n",
        b="from a import A\n_base_ = './a.py'\nclass B(A): y = 2\n",
    )
    assert plain(files.class_("a.py", "A").mapping) == {"y": 2, "x": 1}
    assert files.module("a.py").missing


def test_constants_of_another_file() -> None:
    files = Files(
        const="BATCH = 8\nSIZES = dict(a=[1, 2])\n",
        config="from const import BATCH, SIZES\nx = BATCH * 2\ny = BATCH\nz = SIZES['a'][1]\n",
    )
    resolved = files.module("config.py")
    assert plain(resolved.mapping) == {"x": 16, "y": 8, "z": 2}
    assert scalar(resolved.mapping.get("y")).shared


BASE = (
    "model = dict(type='A', neck=dict(c=1, d=2))\nloader = dict(batch_size=2, workers=4)\nsize = (1, 2)\nhooks = [1]\n"
)


@pytest.mark.parametrize(
    ("child", "expected"),
    [
        ("loader = dict(batch_size=8)", {"loader": {"batch_size": 8, "workers": 4}}),
        ("model = dict(neck=dict(c=5))", {"model": {"type": "A", "neck": {"c": 5, "d": 2}}}),
        ("model = dict(_delete_=True, type='B')", {"model": {"type": "B"}}),
        ("model = dict(neck=dict(_delete_=True, e=1))", {"model": {"type": "A", "neck": {"e": 1}}}),
        ("hooks = [2, 3]", {"hooks": [2, 3]}),
        ("x = _base_.size", {"x": [1, 2]}),
        ("x = {{_base_.loader.workers}}", {"x": 4}),
        ("x = _base_.size[0]", {"x": 1}),
        ("_base_.loader.batch_size = 16", {"loader": {"batch_size": 16, "workers": 4}}),
        ("del _base_.model", {"model": None}),
        ("n = _base_.model\nn['type'] = 'C'\nn.pop('neck')", {"model": {"type": "C"}, "n": {"type": "C"}}),
    ],
)
def test_base_files_merge_as_mmengine_merges_them(child: str, expected: dict[str, object]) -> None:
    files = Files({"_base_/runtime.py": BASE, "c/config.py": f"_base_ = ['../_base_/runtime.py']\n{child}\n"})
    found = plain(files.module("c/config.py").mapping)
    assert isinstance(found, dict)
    assert {key: found.get(key) for key in expected} == expected
    assert "_delete_" not in str(found)


def test_what_one_config_changes_in_its_base_stays_its_own() -> None:
    files = Files(base=BASE, one="_base_ = './base.py'\n_base_.loader.batch_size = 16\n", two="_base_ = './base.py'\n")
    project = files.project()
    values = []
    for path in ("one.py", "two.py", "base.py"):
        resolved = project.module(path)
        assert resolved is not None
        values.append(plain(lookup(resolved.mapping, "loader.batch_size")))
    assert values == [16, 2, 2]


def test_every_resolved_value_can_be_edited_in_its_file() -> None:
    files = Files(base=BASE, c="_base_ = './base.py'\nloader = dict(batch_size=8)\nx = _base_.size\n")
    resolved = files.module("c.py")
    loader = resolved.mapping.get("loader")
    assert isinstance(loader, Mapping)
    texts = {}
    for entry in loader.entries:
        owner = resolved.owner(entry)
        assert owner is files.documents[owner.path]
        texts[entry.key] = owner.path, apply_edits(owner.text, [replace_value(owner, entry.value, 1)])
    assert texts["batch_size"] == ("c.py", "_base_ = './base.py'\nloader = dict(batch_size=1)\nx = _base_.size\n")
    assert texts["workers"] == ("base.py", BASE.replace("workers=4", "workers=1"))
    own = resolved.original(loader)
    edit = insert_entry(files.documents["c.py"], own, "prefetch_factor", 2, None)
    assert "dict(batch_size=8, prefetch_factor=2)" in apply_edits(files.documents["c.py"].text, [edit])


def test_read_base() -> None:
    files = Files(
        base="from torch import nn\nloader = dict(batch_size=2, workers=4)\nsize = 3\n",
        c="with read_base():\n    from .base import *\nloader.update(dict(batch_size=8))\nx = size\n",
    )
    found = plain(files.module("c.py").mapping)
    assert isinstance(found, dict)
    assert found["loader"] == {"batch_size": 8, "workers": 4}
    assert found["x"] == 3


def test_what_read_base_brings_is_merged_by_update() -> None:
    """As mmengine 0.10.7 ``Config.fromfile`` prints it."""
    files = Files(
        base="model = dict(type='X', backbone=dict(arch='base', side=384))\n",
        c=(
            "with read_base():\n    from .base import *\nmodel.update(backbone=dict(arch='tiny'))\n"
            "model.backbone.update(dict(more=dict(k=1)))\nown = dict(a=dict(x=1, y=2))\nown.update(a=dict(x=3))\n"
        ),
        d="with read_base():\n    from .base import *\nx = 1\n",
    )
    found, other = plain(files.module("c.py").mapping), plain(files.module("d.py").mapping)
    assert isinstance(found, dict)
    assert isinstance(other, dict)
    assert found["model"] == {"type": "X", "backbone": {"arch": "tiny", "side": 384, "more": {"k": 1}}}
    assert found["own"] == {"a": {"x": 3}}
    assert other["model"] == {"type": "X", "backbone": {"arch": "base", "side": 384}}


def test_missing_base_files_are_named() -> None:
    files = Files(mid="_base_ = 'mmdet::x.py'\na = 1\n", c="_base_ = ['./mid.py', './gone.py']\nb = 2\n")
    resolved = files.module("c.py")
    assert resolved.missing == ["mmdet::x.py", "./gone.py"]
    assert plain(resolved.mapping) == {"a": 1, "_base_": ["./mid.py", "./gone.py"], "b": 2}
    assert files.project().module("../outside.py") is None
