"""From the names in a case file to classes, and back. Listing names imports nothing, resolving one its module."""

from __future__ import annotations

from pinnx.registry.lookup import entries, families_of, family_of, identify, names, resolve, selector
from pinnx.registry.references import user_file, user_mistake
from pinnx.registry.table import BASES, REGISTRY, Entry

__all__ = [
    "BASES",
    "REGISTRY",
    "Entry",
    "entries",
    "families_of",
    "family_of",
    "identify",
    "names",
    "resolve",
    "selector",
    "user_file",
    "user_mistake",
]
