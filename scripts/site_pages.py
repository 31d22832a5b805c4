"""Hooks of mkdocs: README, CONTRIBUTING, CHANGELOG and the plugins' READMEs become pages.

Links lead from file to file, as a reader of the repository needs them; here they are turned to lead from page to page.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    **{
        path.relative_to(ROOT).as_posix(): f"plugins/{path.parent.name}.md"
        for path in sorted(ROOT.glob("plugins/ftsf_plugins/*/README.md"))
    },
}
# What a link of Markdown or of HTML points to, up to its anchor; addresses and anchors of the same page stay.
LINK = re.compile(r"""((?:\]\(|(?:src|href)="))(?![a-z]+:|#)([^)#\s"]+)""")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by mkdocs once it has listed docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Called by mkdocs for each page before it is made into HTML."""
    sources = {place: source for source, place in PAGES.items()}
    place = page.file.src_uri
    return turned(markdown, sources.get(place, f"docs/{place}"), place)


def turned(text: str, source: str, place: str) -> str:
    """The text of the file ``source``, with links as its page ``place`` has them.

    A link to a file that is no page stays as it is, and strict mode refuses it.
    """

    def turn(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        found = PAGES.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
        return match[0] if found is None else match[1] + posixpath.relpath(found, posixpath.dirname(place) or ".")

    return LINK.sub(turn, text)
