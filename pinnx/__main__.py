"""`python -m pinnx` is the command `pinnx`."""

from __future__ import annotations

import sys

from pinnx.cli import main

if __name__ == "__main__":
    sys.exit(main())
