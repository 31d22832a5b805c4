"""The report as a browser lays it out, where Chromium is installed: nothing is cut off or fetched, and no error."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftsf_export.report import render
from tests.unit.report.test_report import CPU, PLAN, full_record, parity, shown_clip

CHROMIUM = shutil.which("chromium")
WIDTHS = (400, 800, 1400)
# Without these, Chromium looks for updates and for its maker's hosts.
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic", "--enable-logging=stderr", "--dump-dom"),
)
# What is wider than its room must be inside something that scrolls, and the page itself must not.
MEASURE = """
const found = [...document.querySelectorAll('iframe')].map(frame => {
  const page = frame.contentDocument, root = page.documentElement;
  const scrolls = one => ['auto', 'scroll'].includes(getComputedStyle(one).overflowX);
  const cut = [...page.querySelectorAll('table, pre, svg, img, dl, ol')].filter(one => {
    for (let room = one; room && room !== page.body; room = room.parentElement) if (scrolls(room)) return false;
    return one.getBoundingClientRect().right > root.clientWidth + 1;
  });
  return {
    width: frame.clientWidth, page: root.scrollWidth, cut: cut.map(one => one.outerHTML.slice(0, 80)),
    wide: [...page.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1).length,
    fetched: performance.getEntriesByType('resource').length, paper: getComputedStyle(page.body).backgroundColor,
  };
});
const said = document.createElement('pre');
said.textContent = JSON.stringify(found);
document.body.replaceChildren(said);
"""


def laid_out(page: str, folder: Path, *flags: str) -> tuple[list[dict[str, Any]], str]:
    """What is measured of ``page`` at each width, and what the browser complained of."""
    frames = "".join(f'<iframe width="{width}" height="900" srcdoc="{html.escape(page)}"></iframe>' for width in WIDTHS)
    (folder / "frames.html").write_text(f"<body>{frames}<script>onload = () => {{{MEASURE}}}</script>")
    ended = subprocess.run(
        [str(CHROMIUM), *QUIET, *flags, f"--user-data-dir={folder / 'profile'}", (folder / "frames.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r"<pre>(.*?)</pre>", ended.stdout, re.S)
    assert found is not None, ended.stderr
    return json.loads(html.unescape(found[1])), "\n".join(
        line for line in ended.stderr.splitlines() if "CONSOLE" in line
    )


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on this machine")
def test_nothing_is_cut_off_at_any_width_in_light_and_in_dark(tmp_path: Path) -> None:
    modules = {f"blocks.{i}.{part}": 1e-3 for i in range(12) for part in ("temporal", "spatial", "mlp")}
    record = replace(
        full_record(parity({"logits": 2e-3, **modules})), plans=(PLAN,), timings=(CPU,), clips=(shown_clip(),)
    )
    page = render(record)["report.html"].decode()
    papers = set()
    for flags in ((), ("--force-dark-mode",)):
        found, said = laid_out(page, tmp_path, *flags)
        assert [one["width"] for one in found] == list(WIDTHS)
        for one in found:
            assert (one["cut"], one["fetched"]) == ([], 0), one
            assert one["page"] <= one["width"], one
            papers.add(one["paper"])
        assert said == ""
        assert found[0]["wide"] > found[-1]["wide"]
    assert len(papers) == 2


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on this machine")
def test_what_is_cut_off_and_what_fails_would_be_found(tmp_path: Path) -> None:
    wide = "<table><tr>" + "<td>a_long_word_without_a_break</td>" * 40 + "</tr></table>"
    found, said = laid_out(f"<body>{wide}<script>console.error('broken')</script>", tmp_path)
    assert all(one["cut"] and one["page"] > one["width"] for one in found)
    assert "broken" in said
