"""Every character of a YAML string has its place in the file, in every style."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vramlint.sources.model import Mapping, Scalar, Span
from vramlint.sources.yaml_offsets import offsets
from vramlint.sources.yaml_reader import parse


def places(text: str) -> tuple[str, list[str] | None]:
    """The string at the key ``run`` and the source of each of its characters."""
    document = parse(text, "job.yaml")
    assert isinstance(document.root, Mapping)
    node = document.root.get("run")
    assert isinstance(node, Scalar)
    assert isinstance(node.value, str)
    found = offsets(document.text, node, node.value)
    if found is None:
        return node.value, None
    spans = [found.place(Span(index, index + 1)) for index in range(len(node.value))]
    assert spans == sorted(spans)
    return node.value, [text[span.start : span.end] for span in spans]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "text",
    [
        "run: python t.py --b 8\n",
        "run: python t.py\n  --b 8\n  --c\n",
        "run: python t.py\n\n\n  --b 8\n",
        "run: 'it''s\n  --b 8'\n",
        'run: "a \\"b\\" \\\\ \\n \\x41 \\u00e9 \\\n   c\n  d"\n',
        "run: |\n  a\n    b\n\n  c\n",
        "run: |-\n  a\n  b\n",
        "run: |+\n  a\n\n\n",
        "run: | # note\n\n  a\n\n  b\nx: 1\n",
        "run: >\n  a\n  b\n\n  c\n    d\n  e\nx: 1\n",
        "run: >-\n  python t.py\n  --b 8\n  --c\n",
        "x: &s\n  y: 1\nrun: !!str |\n  a é𝕏 b\n",
        "run: |\n  a",
    ],
)
def test_places_hold_the_characters(text: str, newline: str) -> None:
    value, found = places(text.replace("\n", newline))
    assert found is not None
    assert len(found) == len(value)
    for character, source in zip(value, found, strict=True):
        if source[:1] in ("\\", "'") and source != character:
            continue
        assert source == character or (character in " \n" and not source.strip())


def test_a_block_that_states_its_indent_has_no_places() -> None:
    assert places("run: |2\n    a\n")[1] is None


LINES = st.lists(st.text(st.sampled_from(list("ab -'\"\\#:=$\té")), max_size=12), min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(LINES, st.sampled_from(["|", ">", "'", '"', None]), st.sampled_from([20, 1000]))
def test_no_character_of_generated_strings_is_misplaced(lines: list[str], style: str | None, width: int) -> None:
    text = yaml.dump({"a": 1, "run": "\n".join(lines), "z": 2}, default_style=style, width=width, allow_unicode=True)
    document = parse(text, "job.yaml")
    assert isinstance(document.root, Mapping)
    if not isinstance(getattr(document.root.get("run"), "value", None), str):
        return
    value, found = places(text)
    for character, source in zip(value, found or [], strict=False):
        assert source == character or source[:1] in ("\\", "'") or (character in " \n" and not source.strip())
