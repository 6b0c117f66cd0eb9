"""The published equations, written a second time in plain torch: loops over coordinates, no algebra of pinnx.

Each function gives the residual of an arbitrary function u, (n, D) -> (n,), at raw points (n, D), time last.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pinnx.equations import (
    AllenCahn,
    Burgers,
    ClassicalBurgers,
    Darcy,
    DiffusionSorption,
    FokkerPlanck,
    HamiltonJacobiBellman,
    Heat,
    LogFokkerPlanck,
    NavierStokes,
    Poisson,
    RandomBurgers,
    SineGordon,
)
from pinnx.problem import Equation

Function = Callable[[Tensor], Tensor]


def derivatives(u: Function, rows: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Value, first and pure second derivatives in every column."""
    rows = rows.detach().requires_grad_()
    value = u(rows)
    first = torch.autograd.grad(value.sum(), rows, create_graph=True)[0]
    columns = range(rows.shape[1])
    second = [torch.autograd.grad(first[:, i].sum(), rows, retain_graph=True)[0][:, i] for i in columns]
    return value.detach(), [first[:, i].detach() for i in columns], second


def draw(count: int, seed: int, *, normal: bool) -> list[float]:
    """The seeded constants: the first numbers of a torch generator, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    law = torch.randn if normal else torch.rand
    return law(count, generator=generator, dtype=torch.float64).tolist()


def two_body(equation: AllenCahn | SineGordon) -> Function:
    """(1 - |x|²) Σ c_i sin(y_i + cos y_{i+1} + y_{i+1} cos y_i), y = x or y = ω√d·x."""
    d = equation.dimension
    c = draw(d - 1, equation.seed, normal=True)
    stretch = equation.frequency * math.sqrt(d) if equation.frequency > 0 else 1.0

    def u(x: Tensor) -> Tensor:
        result = torch.zeros_like(x[:, 0])
        for i in range(d - 1):
            y, z = stretch * x[:, i], stretch * x[:, i + 1]
            result = result + c[i] * torch.sin(y + torch.cos(z) + z * torch.cos(y))
        return (1 - (x * x).sum(1)) * result

    return u


def allen_cahn(equation: AllenCahn, x: Tensor, u: Function) -> Tensor:
    """Δu + u - u³ = g."""

    def left(function: Function) -> Tensor:
        value, _, second = derivatives(function, x)
        return sum(second) + value - value * value * value

    return left(u) - left(two_body(equation))


def sine_gordon(equation: SineGordon, x: Tensor, u: Function) -> Tensor:
    """Δu + sin u = g."""

    def left(function: Function) -> Tensor:
        value, _, second = derivatives(function, x)
        return sum(second) + torch.sin(value)

    return left(u) - left(two_body(equation))


def fokker_planck(equation: FokkerPlanck, rows: Tensor, u: Function) -> Tensor:
    """u_t = ½Δu - Σ μ_i u_{x_i}."""
    d = equation.dimension
    mu = [1.0] * d if equation.drift == "isotropic" else [1 + m for m in draw(d, equation.seed, normal=True)]
    _, first, second = derivatives(u, rows)
    right = sum(second[i] / 2 - mu[i] * first[i] for i in range(d))
    return first[d] - right


def hamilton_jacobi_bellman(equation: HamiltonJacobiBellman, rows: Tensor, u: Function) -> Tensor:
    """u_t + Δu - |∇u|² = 0."""
    _, first, second = derivatives(u, rows)
    return first[-1] + sum(second[:-1]) - sum(f * f for f in first[:-1])


def burgers(equation: Burgers, rows: Tensor, u: Function) -> Tensor:
    """u_t + u Σ u_{x_i} - νΔu = 0."""
    value, first, second = derivatives(u, rows)
    return first[-1] + value * sum(first[:-1]) - equation.viscosity * sum(second[:-1])


def classical_burgers(equation: ClassicalBurgers, rows: Tensor, u: Function) -> Tensor:
    """u_t + u u_x = ν u_xx."""
    value, (u_x, u_t), (u_xx, _) = derivatives(u, rows)
    return u_t + value * u_x - equation.viscosity * u_xx


def poisson(equation: Poisson, x: Tensor, u: Function) -> Tensor:
    """-Δu = f with f = π² Σ cos πx_i, 0 or -2d."""
    forcing = {
        "cosines": math.pi**2 * torch.cos(math.pi * x).sum(1),
        "products": torch.zeros_like(x[:, 0]),
        "quadratic": torch.full_like(x[:, 0], -2.0 * equation.dimension),
    }
    _, _, second = derivatives(u, x)
    return -sum(second) - forcing[equation.solution]


def heat(equation: Heat, rows: Tensor, u: Function) -> Tensor:
    """u_t = ¼Δu."""
    _, first, second = derivatives(u, rows)
    return first[-1] - sum(second[:-1]) / 4


def log_fokker_planck(equation: LogFokkerPlanck, rows: Tensor, q: Function) -> Tensor:
    """q_t - d/2 - ½ x·∇q - |∇q|² - Δq = 0."""
    d = equation.dimension
    _, first, second = derivatives(q, rows)
    right = d / 2 + sum(rows[:, i] * first[i] / 2 + first[i] * first[i] + second[i] for i in range(d))
    return first[d] - right


def diffusion_sorption(equation: DiffusionSorption, rows: Tensor, u: Function) -> Tensor:
    """R(u) u_t = D u_xx with Freundlich's isotherm."""
    value, (_, u_t), (u_xx, _) = derivatives(u, rows)
    per_pore = 0.71 / 0.29
    sorbed = per_pore * 2880 * 3.5e-4 * 0.874 * torch.exp((0.874 - 1) / 2 * torch.log(value * value + 1e-6))
    return (1 + sorbed) * u_t - equation.diffusion * u_xx


def navier_stokes(equation: NavierStokes, rows: Tensor, w: Function, psi: Function) -> Tensor:
    """w_t + v·∇w = νΔw with v = (ψ_y, -ψ_x)."""
    _, (w_x, w_y, w_t), (w_xx, w_yy, _) = derivatives(w, rows)
    _, (psi_x, psi_y, _), _ = derivatives(psi, rows)
    return w_t + psi_y * w_x - psi_x * w_y - equation.viscosity * (w_xx + w_yy)


def random_burgers(equation: RandomBurgers, rows: Tensor, u: Function) -> Tensor:
    """u_t + u u_x = ν u_xx."""
    value, (u_x, u_t), (u_xx, _) = derivatives(u, rows)
    return u_t + value * u_x - equation.viscosity * u_xx


def darcy(equation: Darcy, rows: Tensor, u: Function, a: Function) -> Tensor:
    """-∇·(a∇u) - 1, the divergence taken of the flux itself."""

    def flux(i: int) -> Function:
        return lambda points: derivatives_of(a, points)[0] * derivatives_of(u, points)[1][:, i]

    return -(derivatives_of(flux(0), rows)[1][:, 0] + derivatives_of(flux(1), rows)[1][:, 1]).detach() - 1


def derivatives_of(function: Function, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient, both differentiable."""
    rows = rows if rows.requires_grad else rows.clone().requires_grad_()
    value = function(rows)
    return value, torch.autograd.grad(value.sum(), rows, create_graph=True)[0]


ORACLES: dict[type[Equation], Callable[..., Tensor]] = {
    AllenCahn: allen_cahn,
    SineGordon: sine_gordon,
    FokkerPlanck: fokker_planck,
    HamiltonJacobiBellman: hamilton_jacobi_bellman,
    Burgers: burgers,
    ClassicalBurgers: classical_burgers,
    Darcy: darcy,
    DiffusionSorption: diffusion_sorption,
    NavierStokes: navier_stokes,
    Poisson: poisson,
    RandomBurgers: random_burgers,
    Heat: heat,
    LogFokkerPlanck: log_fokker_planck,
}
