"""The equations that pinnx knows, one a file; their parameters are dataclass fields."""

from __future__ import annotations

if __name__ != "pinnx.equations":  # reached through the link pinnx/equations, never by its bare name
    raise ImportError(
        "this folder is imported by its dotted name: write `import pinnx.equations`, not `import equations`"
    )
