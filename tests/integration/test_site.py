"""The site of docs/ and docstrings: it builds strictly, shows every public name, and asks nobody else for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import fast_timesformer
import ftsf_export

ROOT = Path(__file__).parents[2]


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(config),
        "--site-dir",
        str(site),
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser fetches to show a page: everything but the targets of links to follow."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.addresses += [value for name, value in attrs if name in ("src", "href", "data", "srcset") and value]


def remote(text: str, suffix: str) -> list[str]:
    """Addresses elsewhere that a page or a style sheet loads."""
    if suffix == ".html":
        parser = Loaded()
        parser.feed(text)
        addresses = parser.addresses
    else:
        addresses = re.findall(r"""(?:url\(|@import)\s*["']?([^)"';]+)""", text)
    return [address for address in addresses if re.match(r"(?:https?:)?//", address)]


def test_every_public_name_is_documented(site: Path) -> None:
    for package in (ftsf_export, fast_timesformer):
        page = (site / "api" / f"{package.__name__}.html").read_text(encoding="utf-8")
        names = {name for name in package.__all__ if name != "__version__"}
        assert {name for name in names if f'id="{package.__name__}.{name}"' not in page} == set()


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > 10
    assert {str(path): found for path in files if (found := remote(path.read_text("utf-8"), path.suffix))} == {}


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ('<script src="https://unpkg.com/x.js"></script>', ".html"),
        ('<link rel="stylesheet" href="//fonts.googleapis.com/css?family=Roboto">', ".html"),
        ("@import 'https://fonts.bunny.net/css';", ".css"),
        ("a { background: url(http://example.org/a.png) }", ".css"),
    ],
)
def test_what_would_be_fetched_is_seen(text: str, suffix: str) -> None:
    assert len(remote(text, suffix)) == 1
    assert remote('<a href="https://example.org">to follow</a>', ".html") == []


@pytest.mark.parametrize("link", ["missing.md", "index.md#no-such-heading"])
def test_a_link_that_leads_nowhere_stops_the_build(tmp_path: Path, link: str) -> None:
    """With the settings of mkdocs.yml, on one page of its own."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Page\n\n[a link]({link})\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nhooks: []\nplugins: []\nnav: [index.md]\n")
    done = build(config, tmp_path / "site")
    assert done.returncode == 1
    assert link.partition("#")[0] in done.stderr
    (tmp_path / "docs" / "index.md").write_text("# Page\n\n[a link](index.md#page)\n")
    assert build(config, tmp_path / "site").returncode == 0
