"""Networks against their published formulas, written out by hand."""

from __future__ import annotations

import math
import pickle

import pytest
import torch

from pinnx.networks import ACTIVATIONS, FourierMlp, Mlp, ModifiedMlp, NetworkSpec, ResidualMlp

SPECS: list[NetworkSpec] = [
    Mlp(width=12, depth=3),
    Mlp(width=12, depth=1, activation="sin", input_scale=3.5),
    FourierMlp(width=12, depth=2, features=7, scale=2.0, input_scale=0.5),
    ResidualMlp(width=12, depth=4, activation="gelu", input_scale=2.0),
    ModifiedMlp(width=12, depth=3, activation="swish", input_scale=2.0),
]


def generator(seed: int = 71933) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(spec: NetworkSpec, inputs: int = 5, outputs: int = 2, seed: int = 71933, dtype: torch.dtype = torch.float64):
    return spec.build(inputs, outputs, generator=generator(seed), dtype=dtype)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
class TestEveryNetwork:
    def test_is_its_first_affine_layer_and_its_tail(self, spec: NetworkSpec) -> None:
        network, points = build(spec), torch.randn(9, 5, generator=generator(8117), dtype=torch.float64)
        affine = network.first_affine()
        assert affine is not None
        weight, bias = affine
        torch.testing.assert_close(network.tail(points @ weight.T + bias), network(points), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_has_the_shape_and_dtype_asked_for(self, spec: NetworkSpec, dtype: torch.dtype) -> None:
        network = build(spec, dtype=dtype)
        values = network(torch.zeros(4, 5, dtype=dtype))
        assert values.shape == (4, 2)
        assert values.dtype == dtype
        assert {p.dtype for p in network.state_dict().values()} == {dtype}

    def test_depends_on_the_generator_and_on_nothing_else(self, spec: NetworkSpec) -> None:
        points = torch.randn(6, 5, generator=generator(8117), dtype=torch.float64)
        torch.manual_seed(1991)
        first = build(spec)(points)
        torch.manual_seed(3313)
        assert torch.equal(first, build(spec)(points))
        assert not torch.equal(first, build(spec, seed=5039)(points))

    def test_state_goes_through_a_file(self, spec: NetworkSpec) -> None:
        network, other = build(spec), build(spec, seed=90001)
        points = torch.randn(6, 5, generator=generator(8117), dtype=torch.float64)
        other.load_state_dict(network.state_dict())
        assert torch.equal(network(points), other(points))
        assert torch.equal(network(points), pickle.loads(pickle.dumps(network))(points))

    def test_gradients_reach_every_parameter(self, spec: NetworkSpec) -> None:
        network = build(spec)
        network(torch.randn(6, 5, generator=generator(8117), dtype=torch.float64)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())

    def test_input_scale_acts_on_the_inputs(self, spec: NetworkSpec) -> None:
        points = torch.randn(6, 5, generator=generator(8117), dtype=torch.float64)
        plain = type(spec)(**{**vars(spec), "input_scale": 1.0})
        torch.testing.assert_close(build(spec)(points), build(plain)(points * vars(spec)["input_scale"]))


@pytest.mark.parametrize("kind", [Mlp, FourierMlp, ResidualMlp, ModifiedMlp])
def test_an_unknown_activation_is_answered_with_the_known_ones(kind: type) -> None:
    with pytest.raises(ValueError, match=r"activation must be one of 'tanh', 'sin', 'gelu', 'swish', got 'relu'"):
        kind(activation="relu")


@pytest.mark.parametrize("wrong", [{"width": 0}, {"depth": 0}, {"input_scale": 0.0}])
def test_impossible_sizes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Mlp(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_what_they_are_called(name: str) -> None:
    z = torch.linspace(-4, 4, 33, dtype=torch.float64)
    truth = {
        "tanh": (z.exp() - (-z).exp()) / (z.exp() + (-z).exp()),
        "sin": z.sin(),
        "gelu": z * 0.5 * (1 + torch.erf(z / math.sqrt(2))),
        "swish": z / (1 + (-z).exp()),
    }
    torch.testing.assert_close(ACTIVATIONS[name](z), truth[name], rtol=1e-12, atol=1e-12)


def test_glorot_normal_weights_have_their_variance() -> None:
    network = build(Mlp(width=300, depth=2), inputs=500, outputs=1)
    weight = network.state_dict()["first.weight"]
    # The variance of n normal draws has relative standard error √(2/n); five of them fail once in two million runs.
    assert abs(weight.var() / (2 / 800) - 1) < 5 * math.sqrt(2 / weight.numel())
    assert network.state_dict()["first.bias"].abs().sum() == 0


def test_fourier_features_are_frozen_and_scaled() -> None:
    network = build(FourierMlp(features=400, scale=3.0), inputs=200)
    assert "frequencies" not in dict(network.named_parameters())
    frequencies = network.state_dict()["frequencies"]
    assert abs(frequencies.var() / 9.0 - 1) < 5 * math.sqrt(2 / frequencies.numel())


def test_fourier_network_is_the_published_formula() -> None:
    network = build(FourierMlp(width=6, depth=1, features=3))
    state = network.state_dict()
    points = torch.randn(4, 5, generator=generator(8117), dtype=torch.float64)
    phase = points @ state["frequencies"].T
    hidden = torch.tanh(torch.cat([phase.sin(), phase.cos()], 1) @ state["second.weight"].T + state["second.bias"])
    torch.testing.assert_close(network(points), hidden @ state["last.weight"].T + state["last.bias"])


def test_modified_network_is_the_published_formula() -> None:
    network = build(ModifiedMlp(width=6, depth=3))
    state = network.state_dict()
    points = torch.randn(4, 5, generator=generator(8117), dtype=torch.float64)
    weights, biases = state["first_weight"].split(6), state["first_bias"].split(6)
    u, v, h = (torch.tanh(points @ w.T + b) for w, b in zip(weights, biases, strict=True))
    for k in range(2):
        z = torch.tanh(h @ state[f"hidden.{k}.weight"].T + state[f"hidden.{k}.bias"])
        h = (1 - z) * u + z * v
    torch.testing.assert_close(network(points), h @ state["last.weight"].T + state["last.bias"])


def test_residual_network_is_its_formula() -> None:
    network = build(ResidualMlp(width=6, depth=3))
    state = network.state_dict()
    points = torch.randn(4, 5, generator=generator(8117), dtype=torch.float64)
    h = torch.tanh(points @ state["first.weight"].T + state["first.bias"])
    for k in range(2):
        h = h + torch.tanh(h @ state[f"hidden.{k}.weight"].T + state[f"hidden.{k}.bias"])
    torch.testing.assert_close(network(points), h @ state["last.weight"].T + state["last.bias"])
