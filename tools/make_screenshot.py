"""Draws docs/images/report.png: the HTML report of an example, in light and in dark, by a headless Chromium.

Usage: python tools/make_screenshot.py    (needs chromium in PATH; look at the picture before it is committed)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 1000, 1010


def draw(picture: Path) -> None:
    browser = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit("no chromium in PATH")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        check = ["vramlint", "check", "--exit-zero", "--output-format", "html", "--output-file", str(report)]
        subprocess.run([*check, "examples/vessels/config.yml"], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
        # Two frames side by side show both colour schemes in one picture.
        text = report.read_text(encoding="utf-8").replace("Content-Security-Policy", "x-policy")
        for scheme, number in (("light", 1), ("dark", 0)):
            page = Path(folder) / f"{scheme}.html"
            page.write_text(text, encoding="utf-8")
            subprocess.run(
                [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                 f"--user-data-dir={folder}/{scheme}", f"--blink-settings=preferredColorScheme={number}",
                 f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={folder}/{scheme}.png", page.as_uri()],
                check=True, capture_output=True,
            )  # fmt: skip
        both = Path(folder) / "both.html"
        both.write_text('<body style="margin:0;display:flex"><img src="light.png"><img src="dark.png"></body>')
        picture.parent.mkdir(exist_ok=True)
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--user-data-dir={folder}/both", f"--window-size={2 * WIDTH},{HEIGHT}",
             f"--screenshot={picture}", both.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip


if __name__ == "__main__":
    draw(ROOT / "docs/images/report.png")
