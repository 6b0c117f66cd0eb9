"""Formulas as SVG images, drawn by matplotlib, so that a page needs no network and no LaTeX."""

from __future__ import annotations

import base64
import html
import io
import re

import matplotlib
from matplotlib.mathtext import math_to_image

# What matplotlib's mathtext does not know, in what it knows.
_REWRITES = (
    (re.compile(r"\\mathbf\{(\\[a-zA-Z]+)\}"), r"\1"),
    (re.compile(r"\\left\|"), r"\\left|"),
    (re.compile(r"\\operatorname\{(\w+)\}"), r"\\mathrm{\1}"),
    (re.compile(r"\\tfrac|\\dfrac"), r"\\frac"),
)


def formula_svg(latex: str) -> str | None:
    r"""A formula as an SVG document, or None if mathtext cannot set it.

    Example:
        >>> formula_svg(r"\Delta u + u - u^{3}")[:5]
        '<?xml'
    """
    for pattern, replacement in _REWRITES:
        latex = pattern.sub(replacement, latex)
    memory = io.BytesIO()
    try:
        with matplotlib.rc_context({"mathtext.fontset": "cm", "svg.hashsalt": "pinnx", "font.size": 14.0}):
            math_to_image(f"${latex}$", memory, format="svg", dpi=72)
    except ValueError:  # mathtext's complaint about what it cannot parse
        return None
    return memory.getvalue().decode()


def formula_html(latex: str, text: str) -> str:
    """A formula as an image that a page carries in itself, or as text where it cannot be set."""
    svg = formula_svg(latex)
    if svg is None:
        return f"<code>{html.escape(text)}</code>"
    data = base64.b64encode(svg.encode()).decode()
    return f'<img class="formula" alt="{html.escape(text, quote=True)}" src="data:image/svg+xml;base64,{data}">'
