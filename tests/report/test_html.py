"""The HTML report: it stands alone, keeps hostile text harmless, and a real browser draws it."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.report.support import finding, result, run, texts, unknown_estimate
from vramlint.engine import check
from vramlint.engine.curve import Point, batch_curve
from vramlint.hardware.model import GIB
from vramlint.memory.model import Interval
from vramlint.report import charts, html
from vramlint.results import CheckResult, Failure
from vramlint.rule import Severity

ROOT = Path(__file__).parents[2]
VOID = {"meta", "br", "line", "circle", "polygon", "polyline", "rect"}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> & \"'"


class Page(HTMLParser):
    """Checks nesting while it gathers what a test asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def example() -> CheckResult:
    """A real check of the example that runs out of memory."""
    return check([str(ROOT / "examples/vessels/config.yml"), str(ROOT / "examples/qwen-sft/sft.yaml")])


def test_a_real_run_has_plan_components_curve_and_findings(example: CheckResult) -> None:
    page = Page(html.render(example, texts()))
    assert page.count("svg") == 2
    assert page.count("article") == len(example.findings) > 0
    for words in (
        "Where the memory goes",
        "Memory over the micro batch",
        "activations",
        "GiB usable",
        "effective batch",
    ):
        assert words in page.text
    for found in example.findings:
        assert found.message in page.text


def test_it_loads_nothing_and_runs_nothing(example: CheckResult) -> None:
    page = Page(html.render(example, texts()))
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "img", "iframe", "object")
        assert not {name for name in attributes if name.startswith("on")}
        assert (attributes.get("href") or "#").startswith("#")
        assert "src" not in attributes


def test_it_is_the_same_every_time(example: CheckResult) -> None:
    assert html.render(example, texts()) == html.render(example, texts())


def test_ids_are_unique_and_every_link_leads_somewhere(example: CheckResult) -> None:
    page = Page(html.render(example, texts()))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    wanted = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    wanted |= {f"#{one}" for _, a in page.tags for one in (a.get("aria-labelledby") or "").split()}
    assert {link for link in wanted if link} <= {f"#{one}" for one in ids}


@pytest.mark.parametrize("where", ["message", "help", "name", "path"])
def test_hostile_text_stays_text(where: str) -> None:
    page = Page(html.render(result(run(finding(**{"fixes": (), where: HOSTILE}))), texts()))
    assert page.count("script") == page.count("img") == 0
    assert HOSTILE in page.text


def test_a_hostile_file_stays_text() -> None:
    text = f"queue_size: 65536 # {HOSTILE}"
    page = Page(html.render(result(run(finding(text), text="96 True 224 65536")), texts(text)))
    assert page.count("script") == page.count("img") == 0
    assert HOSTILE in page.text
    assert re.search(
        r"<mark>65536</mark>", html.render(result(run(finding(text), text="96 True 224 65536")), texts(text))
    )


def test_every_finding_and_failure_is_shown_even_without_a_run() -> None:
    loose = finding(code="VL002", name="duplicate-key", severity=Severity.WARNING)
    found = result(failures=(Failure("bad.yml", "not UTF-8", 3),))._replace(findings=(loose,))
    page = Page(html.render(found, texts()))
    assert "duplicate-key" in page.text
    assert "bad.yml:3" in page.text


def test_an_unknown_estimate_draws_no_chart_and_says_why() -> None:
    page = Page(html.render(result(run(estimate=unknown_estimate())), texts()))
    assert page.count("svg") == 0
    assert "no profile of model" in page.text


def test_a_curve_rises_ends_beyond_the_card_and_holds_the_present_batch(example: CheckResult) -> None:
    for one in example.runs:
        points = batch_curve(one)
        batches = [point.batch for point in points]
        assert batches == sorted(set(batches))
        assert one.reading.plan.micro_batch.value in batches
        assert points[-1].needed.value > points[0].needed.value
        now = next(point for point in points if point.batch == one.reading.plan.micro_batch.value)
        assert now.needed == one.estimate.required


POINTS = tuple(Point(n, Interval(n * GIB // 2, n * GIB, 2 * n * GIB)) for n in (1, 2, 3, 4, 6, 8))


@pytest.mark.parametrize(("usable_gib", "batch"), [(None, None), (1, None), (2, 1), (8, 4), (100, 8)])
def test_the_largest_batch_that_surely_fits(usable_gib: int | None, batch: int | None) -> None:
    found = charts.largest_fitting(POINTS, None if usable_gib is None else usable_gib * GIB)
    assert (None if found is None else found.batch) == batch


@pytest.mark.parametrize("usable_gib", [None, 1, 5, 500])
@pytest.mark.parametrize("now", [1, 4, 8])
def test_a_chart_keeps_its_words_inside_the_picture(usable_gib: int | None, now: int) -> None:
    drawn = charts.curve_chart(POINTS, now, None if usable_gib is None else usable_gib * GIB, "c")
    for x, y in re.findall(r'<text[^>]* x="([\d.-]+)" y="([\d.-]+)"', drawn):
        assert 0 <= float(x) <= 640
        assert 0 <= float(y) <= 300
    assert f"Micro batch {now} needs" in drawn
    assert f">now {now}<" in drawn, "the present batch is in the picture, however far beyond the card"


BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)


@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_it(tmp_path: Path, scheme: str) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(html.render(check([str(ROOT / "examples/vessels/config.yml")]), texts()), encoding="utf-8")
    dark = (
        ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else ["--blink-settings=preferredColorScheme=1"]
    )
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path}",
    ]
    command += ["--window-size=560,1100", *dark, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, capture_output=True, timeout=120, check=False)
    colours = _colours(picture.read_bytes())
    back, bars = ("ffffff", "0969da") if scheme == "light" else ("0d1117", "58a6ff")
    assert max(colours, key=lambda colour: colours[colour]) == bytes.fromhex(back)
    assert colours.get(bytes.fromhex(bars), 0) > 100, "the bars and the curve are there"
    assert len(colours) > 20, "smoothed letters have many shades"


def _colours(png: bytes) -> dict[bytes, int]:
    """How often each colour occurs in an 8-bit PNG without interlacing (PNG specification, filtering)."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert depth == 8
    channels = {2: 3, 6: 4}[kind]
    data, place = b"", 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] == b"IDAT":
            data += png[place + 8 : place + 8 + length]
        place += length + 12
    raw, stride = zlib.decompress(data), width * channels
    above, counts = bytearray(stride), {}
    for row in range(height):
        start = row * (stride + 1)
        line = _unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + stride]), above, channels)
        for x in range(0, stride, channels * 4):
            colour = bytes(line[x : x + 3])
            counts[colour] = counts.get(colour, 0) + 1
        above = line
    return counts


def _unfiltered(kind: int, line: bytearray, above: bytearray, channels: int) -> bytearray:
    for x in range(len(line)):
        left = line[x - channels] if x >= channels else 0
        corner = above[x - channels] if x >= channels else 0
        line[x] = (line[x] + (0, left, above[x], (left + above[x]) // 2, _paeth(left, above[x], corner))[kind]) & 255
    return line


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda value: abs(guess - value))
