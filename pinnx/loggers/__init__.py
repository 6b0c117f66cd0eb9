"""Programs that follow runs from outside: what a case file's `[[output.loggers]]` can name. None is imported early."""

from pinnx.loggers.base import Log, Logger, Session
from pinnx.loggers.mlflow import Mlflow
from pinnx.loggers.tensorboard import TensorBoard
from pinnx.loggers.wandb import Wandb

__all__ = ["Log", "Logger", "Mlflow", "Session", "TensorBoard", "Wandb"]
