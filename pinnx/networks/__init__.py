"""Networks: functions of the raw coordinates that say what their first affine layer is."""

from __future__ import annotations

from pinnx.networks.base import Network, NetworkSpec
from pinnx.networks.encoded import EncodedMlp, EncodedNetwork
from pinnx.networks.fno import Fno, FourierOperator
from pinnx.networks.fourier import FourierMlp, FourierNetwork
from pinnx.networks.grid import GridNetwork, GridNetworkSpec
from pinnx.networks.layers import ACTIVATIONS
from pinnx.networks.mlp import Mlp, MlpNetwork
from pinnx.networks.modified import ModifiedMlp, ModifiedNetwork
from pinnx.networks.residual import ResidualMlp, ResidualNetwork

__all__ = [
    "ACTIVATIONS",
    "EncodedMlp",
    "EncodedNetwork",
    "Fno",
    "FourierMlp",
    "FourierNetwork",
    "FourierOperator",
    "GridNetwork",
    "GridNetworkSpec",
    "Mlp",
    "MlpNetwork",
    "ModifiedMlp",
    "ModifiedNetwork",
    "Network",
    "NetworkSpec",
    "ResidualMlp",
    "ResidualNetwork",
]
