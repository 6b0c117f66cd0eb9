"""Expressions as plain text and as LaTeX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from pinnx.expr.atoms import Atom, Biharmonic, Directional, Gradient, Partial, SecondOrder, Symbol, Value
from pinnx.expr.nodes import (
    Coefficient,
    Component,
    ConstantVector,
    Coordinate,
    Custom,
    Dot,
    Expr,
    Function,
    Number,
    Power,
    Product,
    Sum,
    Total,
)

SUM, PRODUCT, POWER, LEAF = range(4)

_GREEK = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "kappa", "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau")
    + ("phi", "psi", "omega", "theta")
)


def to_text(expr: Expr) -> str:
    """Plain text, such as `laplacian(u) + u - u**3`."""
    return _Printer(latex=False).show(expr)


def to_latex(expr: Expr) -> str:
    r"""LaTeX, such as `\Delta u + u - u^{3}`."""
    return _Printer(latex=True).show(expr)


@final
@dataclass(frozen=True)
class _Printer:
    latex: bool

    def show(self, expr: Expr, above: int = SUM) -> str:
        """The expression, in brackets where its operation binds weaker than the one above it."""
        shown, level = self._node(expr)
        if level >= above:
            return shown
        return rf"\left({shown}\right)" if self.latex else f"({shown})"

    def _node(self, expr: Expr) -> tuple[str, int]:
        if isinstance(expr, Number):
            return f"{expr.value:.6g}", LEAF if expr.value >= 0 else SUM
        if isinstance(expr, Atom):
            return self._atom(expr), LEAF
        if isinstance(expr, Sum):
            return self._sum(expr), SUM
        if isinstance(expr, Product):
            return self._product(expr)
        if isinstance(expr, Power):
            return self._power(expr), POWER
        if isinstance(expr, Dot):
            if expr.left == expr.right:
                inner = self.show(expr.left)
                return (rf"\left|{inner}\right|^{{2}}" if self.latex else f"|{inner}|**2"), POWER
            left, right = self.show(expr.left, PRODUCT), self.show(expr.right, PRODUCT)
            return (rf"{left} \cdot {right}", PRODUCT) if self.latex else (f"dot({left}, {right})", LEAF)
        if isinstance(expr, Total):
            inner = self.show(expr.vector, PRODUCT)
            return (rf"\mathbf{{1}} \cdot {inner}", PRODUCT) if self.latex else (f"total({inner})", LEAF)
        if isinstance(expr, (Function, Custom)):
            arguments = ", ".join(self.show(child) for child in expr.children)
            name = self._name(expr)
            return (rf"{name}\left({arguments}\right)" if self.latex else f"{name}({arguments})"), LEAF
        return self._leaf(expr), LEAF

    def _name(self, expr: Function | Custom) -> str:
        if not self.latex:
            return expr.name
        return rf"\{expr.name}" if isinstance(expr, Function) and expr.name != "sqrt" else rf"\mathrm{{{expr.name}}}"

    def _sum(self, expr: Sum) -> str:
        shown = self.show(expr.terms[0], SUM)
        for term in expr.terms[1:]:
            negative = _negated(term)
            shown += f" - {self.show(negative, PRODUCT)}" if negative is not None else f" + {self.show(term, PRODUCT)}"
        return shown

    def _product(self, expr: Product) -> tuple[str, int]:
        if isinstance(expr.factors[0], Number) and expr.factors[0].value == -1.0:
            rest = expr.factors[1] if len(expr.factors) == 2 else Product(expr.factors[1:])
            return f"-{self.show(rest, PRODUCT)}", SUM
        ordered = sorted(expr.factors, key=lambda factor: not isinstance(factor, Number))
        factors = [self.show(factor, POWER) for factor in ordered]
        return (r" \, " if self.latex else "*").join(factors), PRODUCT

    def _power(self, expr: Power) -> str:
        base = self.show(expr.base, LEAF)
        if self.latex and "^" in base and not base.startswith(r"\left("):  # no superscript on a superscript
            base = rf"\left({base}\right)"
        return f"{base}^{{{expr.exponent:g}}}" if self.latex else f"{base}**{expr.exponent:g}"

    def _leaf(self, expr: Expr) -> str:
        if isinstance(expr, Component):
            return f"{expr.name}_{{{expr.index + 1}}}" if self.latex else f"{expr.name}{expr.index + 1}"
        if isinstance(expr, (Coefficient, Symbol)) and self.latex and expr.symbol is not None:
            return expr.symbol
        if isinstance(expr, (Coefficient, Symbol, Coordinate, ConstantVector)):
            return self._word(expr.name, bold=expr.rank == 1)
        raise TypeError(f"no printer for {type(expr).__name__}")

    def _word(self, name: str, *, bold: bool = False) -> str:
        if not self.latex:
            return name
        word = rf"\{name}" if name in _GREEK else name if len(name) == 1 else rf"\mathrm{{{name}}}"
        return rf"\mathbf{{{word}}}" if bold else word

    def _atom(self, atom: Atom) -> str:
        of = self._leaf(atom.of)
        group = getattr(atom, "group", "x")
        under = "" if group == "x" else f"_{{{group}}}" if self.latex else f", {group}"
        if isinstance(atom, Value):
            return of
        if isinstance(atom, Gradient):
            return rf"\nabla{under} {of}" if self.latex else f"grad({of}{under})"
        if isinstance(atom, Directional):
            vector = self.show(atom.vector, PRODUCT)
            return rf"{vector} \cdot \nabla{under} {of}" if self.latex else f"dot({vector}, grad({of}{under}))"
        if isinstance(atom, SecondOrder) and atom.matrix is None:
            return rf"\Delta{under} {of}" if self.latex else f"laplacian({of}{under})"
        if isinstance(atom, SecondOrder) and atom.matrix is not None:
            name = self._word(atom.matrix.name)
            if self.latex:
                return rf"\mathrm{{tr}}\left({name} \, \nabla^2{under} {of}\right)"
            return f"trace({name}, hessian({of}{under}))"
        if isinstance(atom, Biharmonic):
            return rf"\Delta{under}^{{2}} {of}" if self.latex else f"biharmonic({of}{under})"
        if isinstance(atom, Partial):
            return self._partial(atom, of)
        raise TypeError(f"no printer for {type(atom).__name__}")

    def _partial(self, atom: Partial, of: str) -> str:
        labels = [group if group == "t" else f"{group}{index + 1}" for group, index in atom.columns]
        if not self.latex:
            return f"partial({of}, {', '.join(labels)})"
        subscript = " ".join(label if label == "t" else f"{label[:1]}_{{{label[1:]}}}" for label in labels)
        return rf"\partial_{{{subscript}}} {of}"


def _negated(term: Expr) -> Expr | None:
    """-term where the term carries a negative number, else None."""
    number = term if isinstance(term, Number) else term.children[0] if isinstance(term, Product) else None
    return -term if isinstance(number, Number) and number.value < 0 else None
