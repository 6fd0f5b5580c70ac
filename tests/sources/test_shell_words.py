"""Words, quotes, comments and here-documents of shell text; bash itself is asked where it is there."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vramlint.errors import SourceError
from vramlint.sources.shell_reader import parse
from vramlint.sources.shell_words import NEWLINE, Lexer, Word


def words(text: str) -> list[str]:
    return [token.text for token in Lexer(text, 0, len(text), "t.sh").tokens() if isinstance(token, Word)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\tc", ["a", "b", "c"]),
        ("a \\\n  b", ["a", "b"]),
        ("a \\\r\n  b", ["a", "b"]),
        ("a # b", ["a"]),
        ("a#b", ["a#b"]),
        ("'a b' \"c d\" e\\ f", ["'a b'", '"c d"', "e\\ f"]),
        ('"a \\" b" c', ['"a \\" b"', "c"]),
        ('"$(echo "a b")" c', ['"$(echo "a b")"', "c"]),
        ("$(echo 'a)' # it's\n) c", ["$(echo 'a)' # it's\n)", "c"]),
        ("${x:-'a b'} c", ["${x:-'a b'}", "c"]),
        ('"${x:-it\'s}" c', ['"${x:-it\'s}"', "c"]),
        ("`a \\` b` c", ["`a \\` b`", "c"]),
        ("$'it\\'s' c", ["$'it\\'s'", "c"]),
        ("cat <<EOF\nit's\nEOF\nb", ["cat", "EOF", "b"]),
        ("cat <<-'EOF'\n\tit's\n\tEOF\nb", ["cat", "'EOF'", "b"]),
        ("cat <<A <<B\n'\nA\n\"\nB\nc", ["cat", "A", "B", "c"]),
        ("cat <<EOF\r\nit's\r\nEOF\r\nb", ["cat", "EOF", "b"]),
        ("((i++)) b", ["((i++))", "b"]),
        ("a <(b 'c') d", ["a", "<(b 'c')", "d"]),
        ("a 2>&1 >x &>y b", ["a", "1", "x", "y", "b"]),
        ("é ü", ["é", "ü"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends(newline: str) -> None:
    tokens = Lexer(text := f"a{newline}b", 0, len(text), "t.sh").tokens()
    assert [token.text for token in tokens] == ["a", NEWLINE, "b"]


@pytest.mark.parametrize(("text", "line"), [("a\necho 'b\n", 2), ('"a', 1), ("a\n\n$(b", 3), ("${a", 1), ("`a", 1)])
def test_what_never_closes_is_an_error_with_its_line(text: str, line: int) -> None:
    with pytest.raises(SourceError) as caught:
        parse(text, "t.sh")
    assert (caught.value.path, caught.value.line) == ("t.sh", line)


FRAGMENTS = st.sampled_from(
    ["a", "'b c'", '"d $E"', "\\\n", "\n", "; ", " ", "# it's\n", "${F:-1}", "$(g 'h')", "| ", "&& ", "\\ ", "x=1",
     "--k=v",     '"', "'", "`", "((1))", "\r\n", "> f", "$", "é", "{ ", "} ", "if ", "then ", "fi", "(", ")"]
)  # fmt: skip


QUOTED = st.sampled_from(["a", "'b c'", '"d e"', "f\\ g", '"h\\"i"', "$'j'", "k'l'm", '""', "-n", "é"])


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAGMENTS, max_size=12).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        document = parse(text, "t.sh")
    except SourceError:
        return
    for command in document.commands:
        for entry in command.options.entries:
            assert text[entry.span.start : entry.span.end].startswith(("-", "'", '"', "$", "\\"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", "'b c'", '"d e"', "f\\ g", '"h\\"i"', "$'j'", "k'l'm", '""', "-n", "é"]),
        min_size=1,
        max_size=6,
    )
)
def test_words_are_those_of_bash(parts: list[str]) -> None:
    text = " \\\n ".join(parts)
    script = f'printf "%s\\n" {text}'
    expected = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode().split("\n")[:-1]
    lexer = Lexer(text, 0, len(text), "t.sh")
    found = [token for token in lexer.tokens() if isinstance(token, Word)]
    assert ["".join(piece.text for piece in word.pieces) for word in found] == expected


@pytest.mark.parametrize(
    "text",
    [
        "a " * 140_000,
        "python x.py " + "--a 1 " * 45_000,
        "$(" * 100_000,
        "$(" * 50_000 + ")" * 50_000,
        "'" + "a" * 290_000 + "'",
        "a=1\n" * 70_000,
        "if a; then\n" * 25_000,
        "cat <<E\n" * 35_000,
        "\\\n" * 140_000,
        'X="$X $X"\n' * 60,
        "X=(${X[@]} ${X[@]} a)\n" * 60,
    ],
    ids=[f"case{number}" for number in range(11)],
)
def test_the_largest_scripts_end(text: str) -> None:
    started = time.process_time()
    with contextlib.suppress(SourceError):
        parse(text, "big.sh")
    assert time.process_time() - started < 5


def test_more_than_the_limit_is_refused() -> None:
    with pytest.raises(SourceError, match="no launch script"):
        parse("a\n" * 200_000, "big.sh")
