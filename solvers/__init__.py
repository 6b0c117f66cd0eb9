"""The solvers, one kind a file, and what they are composed of."""

from __future__ import annotations

if __name__ != "pinnx.solvers":  # reached through the link pinnx/solvers, never by its bare name
    raise ImportError("this folder is imported by its dotted name: write `import pinnx.solvers`, not `import solvers`")
