"""Case files: read strictly, with every mistake reported at its line, and written back with every default filled in."""

from __future__ import annotations

from pinnx.case.case import Case, Output, case_of, load_case, parse_case
from pinnx.case.decode import decode
from pinnx.case.device import torch_device
from pinnx.case.document import Document, override, parse_document, read_document
from pinnx.case.encode import encode
from pinnx.case.writer import to_toml

__all__ = [
    "Case",
    "Document",
    "Output",
    "case_of",
    "decode",
    "encode",
    "load_case",
    "override",
    "parse_case",
    "parse_document",
    "read_document",
    "to_toml",
    "torch_device",
]
