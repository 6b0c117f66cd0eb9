"""Solve high-dimensional partial differential equations with neural networks."""

from __future__ import annotations

__version__ = "0.1.0"
