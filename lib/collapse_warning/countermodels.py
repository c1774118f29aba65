"""Finite counter-models: what each hypothesis of the obstruction is needed for.

z3 looks for a relation on a few elements; plain Python then checks what it found. A
counter-model settles that a hypothesis cannot be dropped. That there is none on a few elements is
no proof: the proofs are Lean's.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from lib.collapse_warning.panel import Bools
from lib.core import check

__all__ = ["HYPOTHESES", "Order", "find_order"]

HYPOTHESES = ("transitive", "strict", "closed")


@dataclass(frozen=True, eq=False)
class Order:
    """A relation on elements 0, 1, …; elements 0, 1, 2 play x, y, z.

    Parameters
    ----------
    below : ndarray of bool, shape (n, n)
        ``below[i, j]``: i is below or level with j.
    """

    below: Bools

    def holds(self, hypothesis: str) -> bool:
        """Say whether a hypothesis holds: checked element by element.

        Parameters
        ----------
        hypothesis : {"transitive", "strict", "closed"}
            ``strict``: x is below y and y not below x. ``closed``: y is below z and z below x.
        """
        check.known("hypothesis", hypothesis, HYPOTHESES)
        r, n = self.below, len(self.below)
        if hypothesis == "transitive":
            triples = itertools.product(range(n), repeat=3)
            return all(r[i, k] for i, j, k in triples if r[i, j] and r[j, k])
        if hypothesis == "strict":
            return bool(r[0, 1] and not r[1, 0])
        return bool(r[1, 2] and r[2, 0])


def find_order(drop: str | None = None, size: int = 3) -> Order | None:
    """Look for a reflexive relation that keeps all hypotheses of the obstruction but one.

    Parameters
    ----------
    drop : {"transitive", "strict", "closed"}, optional
        The hypothesis left out. A relation in which ``strict`` is dropped has still x below y.
    size : int
        Elements, at least 3.

    Returns
    -------
    Order or None
        None if there is no such relation on so many elements.
    """
    import z3

    if drop is not None:
        check.known("drop", drop, HYPOTHESES)
    check.integer("size", size, at_least=3)
    r = [[z3.Bool(f"r_{i}_{j}") for j in range(size)] for i in range(size)]
    solver = z3.Solver()
    solver.add(*(r[i][i] for i in range(size)), r[0][1])
    if drop != "transitive":
        for i, j, k in itertools.product(range(size), repeat=3):
            solver.add(z3.Implies(z3.And(r[i][j], r[j][k]), r[i][k]))
    if drop != "strict":
        solver.add(z3.Not(r[1][0]))
    if drop != "closed":
        solver.add(r[1][2], r[2][0])
    if solver.check() == z3.unsat:
        return None
    model = solver.model()
    found = [[z3.is_true(model.eval(r[i][j], True)) for j in range(size)] for i in range(size)]
    return Order(np.array(found))
