"""From the word in a case file to a device that is there."""

from __future__ import annotations

import torch

from pinnx.errors import InputError


def torch_device(name: str) -> torch.device:
    """The device that a case asks for.

    Args:
        name: "auto" (a GPU if there is one, else the CPU), "cpu", "mps", "cuda" or "cuda:N".

    Raises:
        InputError: there is no such device; the message says which there are.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if gpus else torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind == "cuda" and int(index or 0) >= gpus:
        raise InputError(f'asks for {name!r}, but {_gpus(gpus)}; use "auto" or "cpu"', key="device")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError('asks for "mps", but this machine has none; use "auto" or "cpu"', key="device")
    return torch.device("cuda", int(index or 0)) if kind == "cuda" else torch.device(kind)


def _gpus(count: int) -> str:
    if count:
        last = f" to cuda:{count - 1}" if count > 1 else ""
        return f"the GPUs of this machine are cuda:0{last}"
    if torch.version.cuda is None:
        return f"this PyTorch ({torch.__version__}) is built without CUDA"
    return f"PyTorch {torch.__version__} (CUDA {torch.version.cuda}) finds no GPU here"
