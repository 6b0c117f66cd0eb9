"""The conformance kit of couplings: the mixture is what it says, its coefficients minimize, its gradients are exact."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from pinnx.expr import (
    Atom,
    Coordinates,
    Evaluator,
    Expr,
    Points,
    Symbol,
    Unknown,
    Value,
    atoms,
    dot,
    dt,
    grad,
    laplacian,
    norm2,
    partial,
    sin,
    t,
    value,
    x,
)
from pinnx.solvers.experts import Coupling, Ending, LeastSquaresOptions, Mixture, Partition, Rows
from pinnx.testing.functions import random_function

OPTIONS = LeastSquaresOptions(tolerance=1e-13, max_iterations=200)


def heat(u: Symbol) -> Expr:
    """∂_t u - Δu / 10."""
    return dt(u) - 0.1 * laplacian(u)


def burgers(u: Symbol) -> Expr:
    """∂_t u + u ∂_x u - ∂_xx u / 5 + u."""
    return dt(u) + value(u) * partial(u, x[0]) - 0.2 * partial(u, x[0], x[0]) + value(u)


def directed(u: Symbol) -> Expr:
    """(∂_x u)² + x ∂_x u + ∂_xt u + u: vector atoms, directions, mixed derivatives."""
    return norm2(grad(u)) + dot(x, grad(u)) + 0.2 * partial(u, x[0], t) + 2 * value(u)


EQUATIONS: dict[str, Callable[[Symbol], Expr]] = {"heat": heat, "burgers": burgers, "directed": directed}


class Waves:
    """Basis functions b_j = sin(k_j · (x, t) + p_j), whose atoms are known in closed form and depend on k and p.

    Args:
        batch: number B of instances.
        count: number N of basis functions.
        seed: draws k and p.
    """

    def __init__(self, batch: int, count: int, seed: int):
        generator = torch.Generator().manual_seed(seed)
        self.k = 2.5 * torch.randn(batch, count, 2, generator=generator, dtype=torch.float64)
        self.p = 3.0 * torch.randn(batch, count, generator=generator, dtype=torch.float64)

    def forms(self, points: Points, wanted: Sequence[Atom]) -> dict[Atom, Tensor]:
        """(B, n, N) each, or (B, n, 1, N) for the gradient."""
        angle = torch.einsum("nd,bkd->bnk", points.tensor, self.k) + self.p[:, None]
        waves = [angle.sin(), angle.cos(), -angle.sin()]
        along = {"x": self.k[:, None, :, 0], "t": self.k[:, None, :, 1]}
        known = Evaluator(points)
        result: dict[Atom, Tensor] = {}
        for atom in wanted:
            columns = getattr(atom, "columns", None)
            if columns is not None:
                form = waves[len(columns)]
                for name, _ in columns:
                    form = form * along[name]
            elif hasattr(atom, "matrix"):
                form = along["x"] ** 2 * waves[2]
            elif hasattr(atom, "vector"):
                form = known(atom.vector)[..., 0, None] * along["x"] * waves[1]  # type: ignore[attr-defined]
            else:
                form = (along["x"] * waves[1])[:, :, None] if atom.rank else waves[0]
            result[atom] = form
        return result


class CouplingConformance(ABC):
    """Tests that every coupling must pass; subclass it in a test module and list your couplings.

    Attributes:
        seed: draws bases, coefficients and directions.
        instances: number of instances.
        coefficients: number of basis functions.

    Example:
        >>> class TestMyCoupling(CouplingConformance):
        ...     def couplings(self):
        ...         return [MyCoupling(), MyCoupling(strength=3.0)]
    """

    seed: ClassVar[int] = 527_114
    instances: ClassVar[int] = 2
    coefficients: ClassVar[int] = 5

    @abstractmethod
    def couplings(self) -> Sequence[Coupling]:
        """The couplings to test."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Called by pytest: each test runs once for each coupling, and each equation."""
        if "coupling" in metafunc.fixturenames:
            metafunc.parametrize("coupling", self.couplings(), ids=str)
        if "equation" in metafunc.fixturenames:
            metafunc.parametrize("equation", list(EQUATIONS))

    def test_equal_experts_make_the_plain_function(self, coupling: Coupling, equation: str) -> None:
        """Where all experts have the same coefficients, every atom of the mixture is that of one constraint."""
        mixture, rows, _ = self._problem(coupling, equation)
        one = self._draw(self.instances, 1, self.coefficients)
        omega = one.expand(-1, len(mixture.partition), -1)
        found = mixture.atoms(rows[0], omega, rows[0].atoms)
        for atom, values in found.items():
            plain = torch.einsum("bn...k,bk->bn...", rows[0].forms[atom], one[:, 0]) + rows[0].offsets[atom]
            torch.testing.assert_close(values, plain, rtol=1e-10, atol=1e-10)
        for table in coupling.ties(mixture.partition, rows, mixture.sharing):
            assert float(table.residuals(omega).abs().max()) < 1e-10

    def test_atoms_are_derivatives_of_the_value(self, coupling: Coupling) -> None:
        """First and second derivatives of a mixture with different experts are those of its value, by differences."""
        mixture = Mixture(_partition(), coupling)
        waves, omega = Waves(1, self.coefficients, self.seed), self._draw(1, len(mixture.partition), self.coefficients)
        u, h = Unknown(), 1e-4
        generator = torch.Generator().manual_seed(self.seed + 3)
        inside = torch.rand(60, 2, generator=generator, dtype=torch.float64)
        inside = inside[((inside - 0.5).abs() > 2 * h).all(1)]

        def at(moved: Tensor, wanted: list[Atom]) -> dict[Atom, Tensor]:
            points = Points(moved, Coordinates.of(x=1, t=0))
            rows = Rows(value(u), points, waves.forms(points, mixture.requests([plain, *wanted], points)))
            return mixture.atoms(rows, omega, wanted)

        plain = Value(u)
        step = {name: h * torch.tensor([name == "x", name == "t"], dtype=torch.float64) for name in "xt"}
        low, here, high = (at(inside + sign * step["x"], [plain])[plain] for sign in (-1, 0, 1))
        later, earlier = (at(inside + sign * step["t"], [plain])[plain] for sign in (1, -1))
        slope, curvature = grad(u), laplacian(u)
        found = at(inside, [slope, curvature, dt(u)])  # type: ignore[list-item]
        torch.testing.assert_close(found[slope][..., 0], (high - low) / (2 * h), rtol=1e-4, atol=1e-4)  # type: ignore[index]
        torch.testing.assert_close(found[dt(u)], (later - earlier) / (2 * h), rtol=1e-4, atol=1e-4)  # type: ignore[index]
        second = (high - 2 * here + low) / h**2
        torch.testing.assert_close(found[curvature], second, rtol=1e-3, atol=1e-3)  # type: ignore[index]

    def test_linear_solve_is_the_least_squares_solution(self, coupling: Coupling) -> None:
        """Against LAPACK's solution of the dense system."""
        mixture, rows, _ = self._problem(coupling, "heat")
        solved = mixture.solve(rows, OPTIONS)
        assert bool(solved.ok.all()), solved.statuses
        for instance in range(self.instances):
            matrix, right = dense(mixture, rows, instance)
            expected = torch.linalg.lstsq(matrix, -right[:, None], driver="gelsd").solution[:, 0]
            torch.testing.assert_close(solved.omega[instance].flatten(), expected, rtol=1e-7, atol=1e-7)
            norm = (matrix @ expected + right).norm()
            torch.testing.assert_close(solved.residual_norm[instance], norm, rtol=1e-9, atol=1e-12)

    def test_nonlinear_solve_is_a_minimum(self, coupling: Coupling, equation: str) -> None:
        """Scipy's minimizer, started there, finds nothing lower, and the gradient vanishes."""
        from scipy.optimize import least_squares

        mixture, rows, _ = self._problem(coupling, equation)
        solved = mixture.solve(rows, OPTIONS)
        assert bool(solved.ok.all()), solved.statuses
        start = solved.omega[0].detach().flatten()
        one = [each.instances(torch.tensor([0])) for each in rows]
        tables = mixture.tables(one)

        def residuals(vector: Any) -> Any:
            omega = torch.as_tensor(vector, dtype=torch.float64).view(1, len(mixture.partition), -1)
            return torch.cat([table.residuals(omega).flatten() for table in tables]).numpy()

        result = least_squares(residuals, start.numpy(), method="lm", xtol=1e-14, ftol=1e-14, gtol=1e-14)
        assert result.cost >= 0.5 * float(solved.residual_norm[0]) ** 2 * (1 - 1e-8)

    def test_a_solution_in_the_basis_is_found(self, coupling: Coupling, equation: str) -> None:
        """With a residual that can vanish, it does, and the coefficients are those that made the data."""
        mixture, rows, omega = self._problem(coupling, equation, excess=0.0)
        solved = mixture.solve(rows, OPTIONS, start=omega + 0.01 * self._draw(*omega.shape))
        assert bool(solved.ok.all()), solved.statuses
        assert float(solved.residual_norm.max()) < 1e-9
        torch.testing.assert_close(solved.omega, omega[:, None].expand_as(solved.omega), rtol=1e-5, atol=1e-5)

    def test_gradients_are_those_of_finite_differences(self, coupling: Coupling, equation: str) -> None:
        """In the parameters of the basis, to 1e-6; for a residual that vanishes, and one that does not."""
        for excess in (0.0, 0.4):
            mixture, rows, omega = self._problem(coupling, equation, excess=excess)
            start = omega if excess == 0 else mixture.solve(rows, OPTIONS).omega.detach()
            weights = self._draw(self.instances, len(mixture.partition), self.coefficients, shift=5)
            waves = Waves(self.instances, self.coefficients, self.seed)
            directions = [self._draw(*each.shape, shift=place + 6) for place, each in enumerate((waves.k, waves.p))]

            def loss(k: Tensor, p: Tensor, excess: float = excess, **known: Any) -> Tensor:
                _, moved, _ = self._problem(coupling, equation, excess=excess, k=k, p=p)
                solved = known["mixture"].solve(moved, OPTIONS, start=known["start"])
                assert bool(solved.ok.all()), solved.statuses
                return (solved.omega * known["weights"]).sum()

            known = {"mixture": mixture, "start": start, "weights": weights}
            k, p = waves.k.clone().requires_grad_(), waves.p.clone().requires_grad_()
            exact = torch.autograd.grad(loss(k, p, **known), [k, p])
            along = sum(float((slope * way).sum()) for slope, way in zip(exact, directions, strict=True))
            h = 1e-4

            def moved(
                size: float, waves: Waves = waves, ways: list[Tensor] = directions, known: dict[str, Any] = known
            ) -> float:
                with torch.no_grad():
                    return float(loss(waves.k + size * ways[0], waves.p + size * ways[1], **known))

            difference = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
            scale = sum(float((slope * way).abs().sum()) for slope, way in zip(exact, directions, strict=True))
            assert abs(along - difference) <= 1e-6 * scale, (excess, along, difference)

    def test_failed_instances_do_not_poison_the_others(self, coupling: Coupling, equation: str) -> None:
        """One instance that is not finite, one whose basis is rank-deficient: said so, and coefficients, statuses and
        gradients of the others are as without them."""
        mixture, rows, _ = self._problem(coupling, equation)
        good, broken = [], []
        for each in rows:
            forms = {}
            for atom, form in each.forms.items():
                twin = form[:1].clone()
                twin[..., 1] = twin[..., 0]
                forms[atom] = torch.cat([form, torch.full_like(form[:1], torch.nan), twin]).requires_grad_()
            offsets = {atom: torch.cat([offset, offset[:1], offset[:1]]) for atom, offset in each.offsets.items()}
            broken.append(replace(each, forms=forms, offsets=offsets))
            good.append(replace(each, forms={a: f.detach().clone().requires_grad_() for a, f in each.forms.items()}))
        alone, solved = mixture.solve(good, OPTIONS), mixture.solve(broken, OPTIONS)
        endings = [status.ending for status in solved.statuses]
        assert endings[-2:] == [Ending.NOT_FINITE, Ending.RANK_DEFICIENT], solved.statuses
        assert "not finite" in solved.statuses[-2].message
        assert "singular value" in solved.statuses[-1].message
        assert solved.statuses[: self.instances] == alone.statuses
        torch.testing.assert_close(solved.omega[: self.instances], alone.omega, rtol=1e-6, atol=1e-7)
        assert bool(solved.omega.isfinite().all())
        weights = self._draw(*solved.omega.shape, shift=7)
        (solved.omega * weights).sum().backward()
        (alone.omega * weights[: self.instances]).sum().backward()
        for each, own in zip(broken, good, strict=True):
            for atom, form in each.forms.items():
                expected = own.forms[atom].grad
                if form.grad is None or expected is None:
                    assert form.grad is expected
                    continue
                torch.testing.assert_close(
                    form.grad[: self.instances], expected, rtol=1e-6, atol=1e-7 * float(expected.abs().max())
                )
                assert not bool(form.grad[self.instances :].any()), "an instance that failed carries a gradient"

    def _problem(
        self, coupling: Coupling, equation: str, *, excess: float = 0.4, **basis: Tensor
    ) -> tuple[Mixture, list[Rows], Tensor]:
        """A mixture, its rows, and coefficients (B, N) with which the residual is -excess · sin 3x."""
        mixture, u = Mixture(_partition(), coupling), Unknown()
        waves = Waves(self.instances, self.coefficients, self.seed)
        plain = Waves(self.instances, self.coefficients, self.seed)
        waves.k, waves.p = basis.get("k", waves.k), basis.get("p", waves.p)
        omega = self._draw(self.instances, self.coefficients, shift=1)
        exact = random_function(2, self.seed + 2)
        operator = EQUATIONS[equation]
        residual = operator(u) - operator(exact) - excess * sin(3 * x[0])
        rows = []
        for points, expr, role in (
            (_grid(), residual, "equation"),
            (_start(), value(u) - value(exact), "condition"),
        ):
            wanted = mixture.requests([*atoms(expr), Value(u)], points)
            known = Evaluator(points)
            before = plain.forms(points, wanted)
            offsets = {
                atom: known(atom.on(exact)) - torch.einsum("bn...k,bk->bn...", before[atom], omega) for atom in wanted
            }
            weight = 2.0 if role == "condition" else 1.0
            rows.append(Rows(expr, points, waves.forms(points, wanted), offsets, weight=weight, role=role))  # type: ignore[arg-type]
        return mixture, rows, omega

    def _draw(self, *shape: int, shift: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + 10 + shift)
        return torch.randn(shape, generator=generator, dtype=torch.float64)


def dense(mixture: Mixture, rows: Sequence[Rows], instance: int) -> tuple[Tensor, Tensor]:
    """The Jacobian of all coefficients at zero, and the residual there, of one instance: (R, E N) and (R,)."""
    count, n = len(mixture.partition), rows[0].coefficients
    matrices, rights = [], []
    for table in mixture.tables(rows):
        residual, jacobian = table.detached().jacobian(torch.zeros(rows[0].batch, count, n, dtype=torch.float64))
        for place, group in enumerate(table.experts.tolist()):
            block = jacobian.new_zeros(jacobian.shape[2], count * n)
            for slot, expert in enumerate(group):
                block[:, expert * n : (expert + 1) * n] += jacobian[instance, place, :, slot * n : (slot + 1) * n]
            matrices.append(block)
            rights.append(residual[instance, place])
    return torch.cat(matrices), torch.cat(rights)


def _partition() -> Partition:
    return Partition.uniform((0.0, 0.0), (1.0, 1.0), (2, 2))


@lru_cache(maxsize=1)  # what depends on the points alone is remembered with them
def _grid() -> Points:
    along = (torch.arange(14, dtype=torch.float64) + 0.5) / 14
    return Points(torch.cartesian_prod(along, along), Coordinates.of(x=1, t=0))


@lru_cache(maxsize=1)
def _start() -> Points:
    along = (torch.arange(14, dtype=torch.float64) + 0.5) / 14
    return Points(torch.stack([along, torch.zeros_like(along)], dim=1), Coordinates.of(x=1, t=0))
