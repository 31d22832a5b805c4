"""Characters that do something to a terminal or to the order of a text, instead of being seen in it.

Names and texts come from files of strangers: escape sequences could clear the screen, colour a failure green or put
false lines before the reader, and marks of the writing direction could turn a name around. They are shown as Python
would write them.
"""

from __future__ import annotations

import re

# C0 (with the line feed and the tab), delete, C1, marks without width and of direction, the separators of lines and
# paragraphs, and halves of surrogate pairs, which no output can encode.
_INVISIBLE = "\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
_ALL = re.compile(f"[{_INVISIBLE}]")
_BUT_LINES = re.compile(f"(?![\n\t])[{_INVISIBLE}]")


def shown(text: str, *, lines: bool = False) -> str:
    r"""``text`` with each such character as ``\x1b``, ``\n`` or ``\u202e``. ``lines`` keeps line feeds and tabs."""
    return (_BUT_LINES if lines else _ALL).sub(lambda found: repr(found[0])[1:-1], text)


def shown_in_json(line: str) -> str:
    r"""A line of JSON that means the same, with each such character in its strings as ``\u202e``."""
    return _ALL.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
