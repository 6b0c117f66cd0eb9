"""Running cases: the run directory, the training loop, what is written, and what is read from it afterwards.

Everything is imported when it is first asked for: comparing runs needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinnx.run.checking import check
    from pinnx.run.comparison import compare
    from pinnx.run.directory import RunDirectory
    from pinnx.run.evaluation import evaluate
    from pinnx.run.exporting import export
    from pinnx.run.loop import train
    from pinnx.run.metrics import Metrics, read_metrics
    from pinnx.run.recorder import MemoryRecorder, Recorder
    from pinnx.run.reporting import report
    from pinnx.run.result import Result
    from pinnx.run.running import Manner, execute, load_solution, resume

__all__ = [
    "Manner",
    "MemoryRecorder",
    "Metrics",
    "Recorder",
    "Result",
    "RunDirectory",
    "check",
    "compare",
    "evaluate",
    "execute",
    "export",
    "load_solution",
    "read_metrics",
    "report",
    "resume",
    "train",
]

# No module bears the name of a function: importing it would hide the function.
_HOMES = {
    "Manner": "running",
    "MemoryRecorder": "recorder",
    "Metrics": "metrics",
    "Recorder": "recorder",
    "Result": "result",
    "RunDirectory": "directory",
    "check": "checking",
    "compare": "comparison",
    "evaluate": "evaluation",
    "execute": "running",
    "export": "exporting",
    "load_solution": "running",
    "read_metrics": "metrics",
    "report": "reporting",
    "resume": "running",
    "train": "loop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
