"""The command `pinnx`: a thin shell around the package. PyTorch is imported only inside the commands that compute."""

from __future__ import annotations

from pinnx.cli.main import main

__all__ = ["main"]
