"""Case files: read strictly, with every mistake reported at its line, and written back with every default filled in.

Everything is imported when it is first asked for: reading and changing the text of a case needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinnx.case.case import Case, Output, case_of, load_case, parse_case
    from pinnx.case.device import torch_device
    from pinnx.case.document import Document, override, parse_document, read_document
    from pinnx.case.writer import to_toml

__all__ = [
    "Case",
    "Document",
    "Output",
    "case_of",
    "load_case",
    "override",
    "parse_case",
    "parse_document",
    "read_document",
    "to_toml",
    "torch_device",
]

_HOMES = {
    "Case": "case",
    "Document": "document",
    "Output": "case",
    "case_of": "case",
    "load_case": "case",
    "override": "document",
    "parse_case": "case",
    "parse_document": "document",
    "read_document": "document",
    "to_toml": "writer",
    "torch_device": "device",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
