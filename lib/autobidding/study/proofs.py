"""The algebra of chapter 1's proofs, checked by SymPy beside false variants.

A proof on the theory pages is prose around a few identities and inequalities. Every function here
takes one of them, decides it symbolically, and decides a *false variant* of it as well: a check
that could not tell the two apart would be worth nothing. Inequalities are decided by writing the
difference as a sum of products of quantities that are not negative by assumption.

What SymPy checks is the algebra, not the prose: that a step is used where its assumptions hold is
for the reader of ``book/ch01_autobidding/theory.md`` and ``beyond.md``.

Source: arXiv 2605.31036, section 5 and appendix A (positive results) and B (constructions); the
checks of section "beyond the paper" are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pandas as pd
import sympy as sp

HALF = sp.Rational(1, 2)


@dataclass(frozen=True)
class Step:
    """One step of a proof and its false variant.

    Parameters
    ----------
    label : str
        Label of the statement on the theory pages that uses the step.
    statement, false_variant : str
        The step, and a statement close to it that is wrong.
    decide : callable
        Whether SymPy confirms the one, and the other.
    """

    label: str
    statement: str
    false_variant: str
    decide: Callable[[], tuple[bool, bool]]


STEPS: list[Step] = []
"""All steps, in the order of the theory pages."""


def _step(label: str, statement: str, false_variant: str) -> Callable[[Any], Any]:
    def add(decide: Callable[[], tuple[bool, bool]]) -> Callable[[], tuple[bool, bool]]:
        STEPS.append(Step(label, statement, false_variant, decide))
        return decide

    return add


def _zero(expression: Any) -> bool:
    return bool(sp.simplify(expression) == 0)


def _not_negative(expression: Any) -> bool:
    """Whether ``expression`` is visibly at least 0 under the assumptions of its symbols."""
    return sp.factor(sp.simplify(expression)).is_nonnegative is True


def _positive(names: str) -> Any:
    return sp.symbols(names, positive=True)


@_step(
    "lem-split",
    "Σ w' p' over the parts equals w p of the whole",
    "the coarse prediction is the unweighted mean of the fine ones",
)
def _split() -> tuple[bool, bool]:
    n1, n2, total, s1, s2 = _positive("n1 n2 U s1 s2")
    fine = n1 / total * (s1 / n1) + n2 / total * (s2 / n2)
    whole = (n1 + n2) / total
    return _zero(fine - whole * (s1 + s2) / (n1 + n2)), _zero(
        fine - whole * (s1 / n1 + s2 / n2) / 2
    )


@_step(
    "lem-jensen",
    "Σ λ_j max_i - max_i at the mean is a sum of λ_j times what the line best at the mean misses",
    "it is that sum for a line that is best in some part only (slack of either sign)",
)
def _jensen() -> tuple[bool, bool]:
    share, slack = _positive("lambda1:4"), sp.symbols("s1:4", nonnegative=True)
    line, either = sp.symbols("x1:4", real=True), sp.Symbol("s", real=True)
    # In part j the maximum is what the line gives there, and a slack.
    mean_of_max = sum(w * (x + s) for w, x, s in zip(share, line, slack, strict=True))
    at_the_mean = sum(w * x for w, x in zip(share, line, strict=True))
    return _not_negative(mean_of_max - at_the_mean), _not_negative(share[0] * either)


@_step(
    "lem-mu-one",
    "spend = μ t · conversions, whatever clusters are won",
    "the same in second price, where the price is the rival's bid",
)
def _first_price_cpa() -> tuple[bool, bool]:
    mu, target = _positive("mu t")
    weight, p, rival = _positive("w1:4"), _positive("p1:4"), _positive("d1:4")
    won = sum(w * x for w, x in zip(weight, p, strict=True))
    first = sum(w * mu * target * x for w, x in zip(weight, p, strict=True))
    second = sum(w * d for w, d in zip(weight, rival, strict=True))
    return _zero(first / won - mu * target), _zero(second / won - mu * target)


@_step(
    "lem-lift",
    "Σ w' x a p' over the parts equals w x a p of the whole",
    "the same with one fine prediction off by η > 0",
)
def _lifting() -> tuple[bool, bool]:
    x, a, n1, n2, p1, p2, shift = _positive("x a n1 n2 p1 p2 eta")
    coarse = a * x * (n1 + n2) * (n1 * p1 + n2 * p2) / (n1 + n2)
    wrong = a * x * (n1 * (p1 + shift) + n2 * p2)
    return _zero(a * x * (n1 * p1 + n2 * p2) - coarse), _zero(wrong - coarse)


@_step("lem-opt-lw", "above the budget, y · B/y = B", "the factor 1 - (y - B)/B does the same")
def _shrinking() -> tuple[bool, bool]:
    budget, over = _positive("B c")
    y = budget + over
    return _zero(y * (budget / y) - budget), _zero(y * (1 - over / budget) - budget)


@_step(
    "thm-two-truthful",
    "max(x, y) + min(x, y) = x + y",
    "highest + second-highest of three is their sum",
)
def _two_truthful() -> tuple[bool, bool]:
    x, y = sp.symbols("x y", real=True)
    top, second = (x + y + sp.Abs(x - y)) / 2, (x + y - sp.Abs(x - y)) / 2
    return _zero(top + second - x - y), _zero((x + y + 1 - (top + second)).subs({x: 3, y: 2}))


@_step(
    "ex-three",
    "with three bidders the second-highest value can rise and can fall",
    "it never rises, as with two",
)
def _three() -> tuple[bool, bool]:
    def gap(first: tuple[int, ...], other: tuple[int, ...]) -> Any:
        pooled = sorted(sp.Rational(x + y, 2) for x, y in zip(first, other, strict=True))
        return sp.Rational(sorted(first)[-2] + sorted(other)[-2], 2) - pooled[-2]

    rise, fall = gap((1, 1, 0), (0, 1, 1)), gap((1, 0, 0), (0, 0, 1))
    return bool(rise > 0 > fall), bool(rise <= 0)


@_step(
    "prop-kappa-cce",
    "∫ dz/(1-z) = 1 on [0, 1-1/e], and the gain beyond θ is 1 - 1/e - θ",
    "uniform shading on the same interval gains as much at θ = 3/10",
)
def _shading() -> tuple[bool, bool]:
    z, theta = sp.symbols("z theta", nonnegative=True)
    top, density = 1 - sp.exp(-1), 1 / (1 - z)
    mass = sp.integrate(density, (z, 0, top))
    gain = sp.integrate(sp.cancel((1 - z) * density), (z, theta, top))
    uniform = sp.integrate((1 - z) / top, (z, theta, top)) - (top - theta)
    enough = bool(uniform.subs(theta, sp.Rational(3, 10)).evalf() >= 0)
    return _zero(mass - 1) and _zero(gain - (top - theta)), enough


@_step(
    "ex-budget-family",
    "LW is 2 + δ - ε, then 3/2 + δ; the loss tends to 1/4; bidder 2 is shielded by (δ - ε)/2",
    "bidder 2 is also shielded when δ < ε",
)
def _budget_family() -> tuple[bool, bool]:
    eps, delta = _positive("epsilon delta")
    second, third = HALF - eps, HALF + delta
    coarse, fine = 1 + second + third, 1 + third
    shield = (second + third) / 2 - HALF  # bid of 2 less bid of 1, pooled
    sums = _zero(coarse - (2 + delta - eps)) and _zero(fine - (sp.Rational(3, 2) + delta))
    limit = (1 - fine / coarse).subs({eps: 0, delta: 0}) == sp.Rational(1, 4)
    shielded = _zero(shield - (delta - eps) / 2)
    return sums and limit and shielded, bool(shield.subs({eps: 2 * delta}).is_nonnegative)


def budget_family_limit() -> Fraction:
    """Return the limit of the loss along :func:`.budget_family`, where delta is twice epsilon.

    Examples
    --------
    >>> budget_family_limit()
    Fraction(1, 4)
    """
    eps = _positive("epsilon")
    coarse, fine = 2 + eps, sp.Rational(3, 2) + 2 * eps
    return Fraction(str(sp.limit((coarse - fine) / coarse, eps, 0, "+")))


@_step("thm-quarter", "loss ≤ s(1-ρ), coarse revenue ≥ 1/ρ, and ρ(1-ρ) ≤ 1/4", "ρ(1-ρ) ≤ 1/5")
def _quarter() -> tuple[bool, bool]:
    r, fine_r, s, x = _positive("r q s rho")
    rho = fine_r / r
    lost = s - 1 + fine_r * (1 / fine_r - s / r)
    held = s + r * (1 / fine_r - s / r)
    bounds = _zero(lost - s * (1 - rho)) and _zero(held - 1 / rho)
    product = _zero(sp.Rational(1, 4) - x * (1 - x) - (x - HALF) ** 2)
    return bounds and product, bool((sp.Rational(1, 5) - x * (1 - x)).subs(x, HALF) >= 0)


@_step(
    "thm-half",
    "bidder 1 cannot pay for the pool, can pay for impression 1, and fine/coarse → 1/2",
    "without impression 2 bidder 1 still cannot pay for the pool",
)
def _half_family() -> tuple[bool, bool]:
    m = _positive("m")
    second, third = (1 - m) / (1 + 2 * m), 2 * m / (1 + 2 * m)
    # Largest multiplier with which bidder 1 can pay for all that it converts.
    alpha = 1 / (m + HALF)
    short = (second + third) / 2 - alpha / 4  # bidder 2's bid less bidder 1's, pooled
    ahead = alpha * HALF - second  # bidder 1's bid less bidder 2's, on impression 1
    signs = _zero(short - m / (2 + 4 * m)) and _zero(ahead - m / (1 + 2 * m))
    limit = sp.limit((1 + third) / (1 + second + third), m, 0) == HALF
    return signs and limit, _not_negative(second / 2 - alpha / 4)


def check_all() -> pd.DataFrame:
    """Decide every step.

    Returns
    -------
    DataFrame
        One row a step: ``label`` on the theory pages, ``step``, ``holds``, ``false variant``,
        ``variant refuted``.
    """
    rows = []
    for step in STEPS:
        holds, variant = step.decide()
        rows.append((step.label, step.statement, holds, step.false_variant, not variant))
    names = ["label", "step", "holds", "false variant", "variant refuted"]
    return pd.DataFrame(rows, columns=names)
