"""Turns the formulas of a page into MathML while the documentation is built: browsers show it without any script."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# What `pymdownx.arithmatex` in its generic mode leaves: \(…\) in a span, \[…\] in a div.
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>',
    re.DOTALL,
)


def _mathml(match: re.Match[str]) -> str:
    return convert(html.unescape(match["latex"]).strip(), display="block" if match["tag"] == "div" else "inline")


def on_page_content(content: str, **_: Any) -> str:
    """Replace every formula of the page."""
    return _FORMULA.sub(_mathml, content)
