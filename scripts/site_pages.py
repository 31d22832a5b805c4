"""A hook of mkdocs: README, CONTRIBUTING, CHANGELOG and the plugins' READMEs become pages, with their links turned."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

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
        files.append(File.generated(config, page, content=turned((ROOT / source).read_text(encoding="utf-8"), source)))
    return files


def turned(text: str, source: str) -> str:
    """The text of the file ``source``, with links as its page has them; one to no page is left for strict mode."""

    def turn(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        place = PAGES.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
        if place is None:
            return match[0]
        return match[1] + posixpath.relpath(place, posixpath.dirname(PAGES[source]) or ".")

    return LINK.sub(turn, text)
