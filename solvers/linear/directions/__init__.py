"""Learned search directions: networks, training data, training, model files."""

from __future__ import annotations

from pinnx.solvers.linear.directions.dcdm import Dcdm
from pinnx.solvers.linear.directions.lanczos import write_ritz_file
from pinnx.solvers.linear.directions.learned import DirectionModule, DirectionSpec, LearnedDirection
from pinnx.solvers.linear.directions.loading import NETWORKS, load_direction
from pinnx.solvers.linear.directions.problems import RandomSystems, box
from pinnx.solvers.linear.directions.random_samples import RandomSamples
from pinnx.solvers.linear.directions.ritz import OperatorRitzSamples, RitzSamples
from pinnx.solvers.linear.directions.samples import Sample, Samples, SampleSource
from pinnx.solvers.linear.directions.trained import Trained
from pinnx.solvers.linear.directions.training import DirectionTraining, TrainDirection
from pinnx.solvers.linear.directions.unet import LinearUNet, UNet
from pinnx.solvers.linear.directions.vcycle import VCycle

__all__ = [
    "NETWORKS",
    "Dcdm",
    "DirectionModule",
    "DirectionSpec",
    "DirectionTraining",
    "LearnedDirection",
    "LinearUNet",
    "OperatorRitzSamples",
    "RandomSamples",
    "RandomSystems",
    "RitzSamples",
    "Sample",
    "SampleSource",
    "Samples",
    "TrainDirection",
    "Trained",
    "UNet",
    "VCycle",
    "box",
    "load_direction",
    "write_ritz_file",
]
