"""How the unknown is built from a network."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pinnx.expr import Atom, Expr, Symbol, Unknown, map_leaves, with_explicit_values


class TrialSolution(ABC):
    """u as a function of the network f, by a rule that rewrites each atom of u into atoms of f."""

    @abstractmethod
    def rewrite(self, atom: Atom) -> Expr:
        """The expression in atoms of f that equals an atom of u; f has the same name and index as u.

        Raises:
            UnsupportedError: the atom is of a type that the rule does not cover.
        """

    def apply(self, expr: Expr, unknown: Unknown) -> Expr:
        """The expression with every atom of `unknown` rewritten."""

        def change(leaf: Expr) -> Expr:
            return self.rewrite(leaf) if isinstance(leaf, Atom) and leaf.of == unknown else leaf

        return map_leaves(with_explicit_values(expr), change)

    def value(self, unknown: Symbol) -> Expr:
        """The value of u itself, as an expression in f."""
        assert isinstance(unknown, Unknown)
        return self.apply(unknown, unknown)
