"""Characters that do something to a terminal or to the order of a text, instead of being seen in it.

Names and texts come from files of strangers: escape sequences could clear the screen, colour a failure green or put
false lines before the reader, and marks of the writing direction could turn a name around. They are shown as Python
would write them.
"""

from __future__ import annotations

import json
import re

# C0 (with the line feed and the tab), delete, C1, marks without width and of direction, letters that are blank, the
# separators of lines and paragraphs, halves of surrogate pairs, which no output can encode, and tags, which spell text
# that nobody sees.
_INVISIBLE = (
    "\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u2069\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff"
)
_ALL = re.compile(f"[{_INVISIBLE}]")
_BUT_LINES = re.compile(f"(?![\n\t])[{_INVISIBLE}]")


def shown(text: str, *, lines: bool = False) -> str:
    r"""``text`` with each such character as ``\x1b``, ``\n`` or ``\u202e``. ``lines`` keeps line feeds and tabs."""
    return (_BUT_LINES if lines else _ALL).sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown_in_json(line: str) -> str:
    r"""A line of JSON that means the same, with each such character in its strings as ``\u202e``."""
    return _ALL.sub(lambda found: json.dumps(found[0])[1:-1], line)
