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


@dataclass(frozen=True)
class Check:
    """One step of a proof and its false variant.

    Parameters
    ----------
    label : str
        Label of the statement on the theory pages that uses the step.
    statement : str
        The step.
    holds : bool
        Whether SymPy confirms it.
    false_variant : str
        A statement close to it that is wrong.
    variant_holds : bool
        Whether SymPy confirms that one; it must not.
    """

    label: str
    statement: str
    holds: bool
    false_variant: str
    variant_holds: bool


def _zero(expression: Any) -> bool:
    return bool(sp.simplify(expression) == 0)


def _not_negative(expression: Any) -> bool:
    """Whether ``expression`` is visibly at least 0 under the assumptions of its symbols."""
    return sp.factor(sp.simplify(expression)).is_nonnegative is True


def _plain(names: str) -> Any:
    return sp.symbols(names, real=True)


def _amounts(names: str) -> Any:
    """Symbols for quantities that cannot be negative: masses, money, slacks."""
    return sp.symbols(names, nonnegative=True)


def _positive(names: str) -> Any:
    return sp.symbols(names, positive=True)


def split_preserves_means() -> Check:
    """Check that a cluster's predicted mass is the sum over its parts."""
    n1, n2, total = _positive("n1 n2 U")
    s1, s2 = _amounts("s1 s2")
    fine = n1 / total * (s1 / n1) + n2 / total * (s2 / n2)
    coarse = (n1 + n2) / total * (s1 + s2) / (n1 + n2)
    unweighted = (n1 + n2) / total * (s1 / n1 + s2 / n2) / 2
    return Check(
        "lem-split",
        "Σ w' p' over the parts equals w p of the whole",
        _zero(fine - coarse),
        "the coarse prediction is the unweighted mean of the fine ones",
        _zero(fine - unweighted),
    )


def jensen_many_lines() -> Check:
    """Jensen for any number of lines, through the line that is best at the mean.

    In part j the maximum is ``a_m p_mj + slack_j`` with m the best line at the mean.
    """
    lam = _positive("lambda1:4")
    slack = _amounts("s1:4")
    line = _plain("x1:4")
    mean_of_max = sum(w * (x + s) for w, x, s in zip(lam, line, slack, strict=True))
    max_of_mean = sum(w * x for w, x in zip(lam, line, strict=True))
    return Check(
        "lem-jensen",
        "Σ λ_j max_i - max_i at the mean is a sum of λ_j times what the best line misses",
        _not_negative(mean_of_max - max_of_mean),
        "it is that sum for a line that is best in some part only (slack of either sign)",
        _not_negative(lam[0] * _plain("s")),
    )


def second_highest_has_no_sign() -> Check:
    """Check that the second-highest of three is neither convex nor concave."""

    def gap(first: tuple[int, ...], second: tuple[int, ...]) -> Any:
        pooled = [sp.Rational(x + y, 2) for x, y in zip(first, second, strict=True)]
        split = sp.Rational(sorted(first)[-2] + sorted(second)[-2], 2)
        return split - sorted(pooled)[-2]

    rise, fall = gap((1, 1, 0), (0, 1, 1)), gap((1, 0, 0), (0, 0, 1))
    return Check(
        "ex-three",
        "with three bidders the second-highest value can rise and can fall",
        bool(rise > 0 and fall < 0),
        "it never rises, as with two",
        bool(rise <= 0),
    )


def first_price_cpa() -> Check:
    """Cost per conversion in first price is the multiplier times the target."""
    mu, target = _positive("mu t")
    w, p = _positive("w1:4"), _positive("p1:4")
    rival = _positive("d1:4")
    conversions = sum(x * y for x, y in zip(w, p, strict=True))
    first = sum(x * mu * target * y for x, y in zip(w, p, strict=True))
    second = sum(x * y for x, y in zip(w, rival, strict=True))
    return Check(
        "lem-mu-one",
        "spend = μ t · conversions, whatever clusters are won",
        _zero(first / conversions - mu * target),
        "the same in second price, where the price is the rival's bid",
        _zero(second / conversions - mu * target),
    )


def lifting() -> Check:
    """Check that copying a coarse fraction to the parts keeps spend and objective."""
    x, a, n1, n2 = _positive("x a n1 n2")
    p1, p2, shift = _positive("p1 p2 eta")
    coarse = a * x * (n1 + n2) * (n1 * p1 + n2 * p2) / (n1 + n2)
    return Check(
        "lem-lift",
        "Σ w' x a p' over the parts equals w x a p of the whole",
        _zero(a * x * (n1 * p1 + n2 * p2) - coarse),
        "the same with one fine prediction off by η > 0",
        _zero(a * x * (n1 * (p1 + shift) + n2 * p2) - coarse),
    )


def shrinking_to_the_budget() -> Check:
    """Scaling an allocation down to its budget keeps its liquid welfare."""
    value, budget, over = _positive("y B c")
    # Above the budget, y = B + c; below it the factor is one.
    above = (budget + over) * (budget / (budget + over)) - budget
    wrong = (budget + over) * (1 - over / budget) - budget
    return Check(
        "lem-opt-lw",
        "y · min(1, B/y) = min(B, y), above and below the budget",
        _zero(above) and _zero(value * 1 - value),
        "the factor 1 - (y - B)/B does the same",
        _zero(wrong),
    )


def product_of_averages() -> Check:
    """Averaging click and conversion rates apart misses their covariance."""
    c1, c2, v1, v2 = _plain("c1 c2 v1 v2")
    product = (c1 + c2) / 2 * (v1 + v2) / 2
    calibrated = (c1 * v1 + c2 * v2) / 2
    covariance = (c1 - c2) * (v1 - v2) / 4
    return Check(
        "ex-product",
        "calibrated prediction = product of averages + covariance (two users)",
        _zero(calibrated - product - covariance),
        "the product of averages is calibrated",
        _zero(calibrated - product),
    )


def binding_targets() -> Check:
    """In second price each binding target pins the rival's multiplier."""
    g_a, g_b, t_a, t_b = _positive("gA gB tA tB")
    a_on_a, b_on_a, a_on_b, b_on_b = _positive("PA_S PB_S PA_R PB_R")
    spend_a, spend_b = g_b * b_on_a, g_a * a_on_b
    solved = sp.solve([spend_a - t_a * a_on_a, spend_b - t_b * b_on_b], [g_a, g_b], dict=True)[0]
    return Check(
        "ex-unique",
        "gB = tA PA(S)/PB(S) and gA = tB PB(R)/PA(R) solve the binding equations",
        _zero(solved[g_b] - t_a * a_on_a / b_on_a) and _zero(solved[g_a] - t_b * b_on_b / a_on_b),
        "A's own multiplier moves A's cost per conversion",
        not _zero(sp.diff(spend_a / a_on_a, g_a)),
    )


def two_truthful_bidders() -> Check:
    """Welfare and second-price revenue of two truthful bidders add up to a constant."""
    x, y, z = _plain("x y z")
    top = (x + y + sp.Abs(x - y)) / 2
    second = (x + y - sp.Abs(x - y)) / 2
    three = {x: 3, y: 2, z: 1}
    return Check(
        "thm-two-truthful",
        "max(x, y) + min(x, y) = x + y",
        _zero(top + second - x - y),
        "highest + second-highest of three is their sum",
        _zero((x + y).subs(three) - (x + y + z).subs(three)),
    )


def shading_density() -> Check:
    """Check the random shading of the e/(e-1) bound: total mass, mean gain on one cluster."""
    z, theta = sp.symbols("z theta", nonnegative=True)
    top = 1 - sp.exp(-1)
    density = 1 / (1 - z)
    mass = sp.integrate(density, (z, 0, top))
    gain = sp.integrate(sp.cancel((1 - z) * density), (z, theta, top))
    uniform_gain = sp.integrate((1 - z) / top, (z, theta, top))
    point = {theta: sp.Rational(3, 10)}
    return Check(
        "prop-kappa-cce",
        "∫ dz/(1-z) = 1 on [0, 1-1/e], and the gain beyond θ is 1 - 1/e - θ",
        _zero(mass - 1) and _zero(gain - (top - theta)),
        "uniform shading on the same interval gains as much at θ = 3/10",
        bool((uniform_gain - (top - theta)).subs(point).evalf() >= 0),
    )


def shading_on_a_grid() -> Check:
    """Check that rounding the shading up by at most h costs at most h of the value."""
    z, theta, h = sp.symbols("z theta h", nonnegative=True)
    top = 1 - sp.exp(-1)
    # The rounding is paid for on z in [θ, 1-1/e], whose probability is 1 + log(1-θ).
    likely = sp.integrate(1 / (1 - z), (z, theta, top))
    form = 1 + sp.log(1 - theta)
    at = [sp.Rational(k, 20) for k in range(12)]
    agrees = all(abs(float((likely - form).subs(theta, v).evalf())) < 1e-12 for v in at)
    # The probability is 1 at θ = 0 and falls, so the cost h · probability is at most h.
    falls = _not_negative(-sp.diff(form, theta).subs(theta, z / (1 + z)))
    return Check(
        "rem-grid",
        "the rounding costs h · P(z ≥ θ), and P(z ≥ θ) ≤ 1",
        agrees and _zero(form.subs(theta, 0) - 1) and falls,
        "the rounding costs nothing",
        _zero(h * form.subs(theta, 0)),
    )


def revenue_without_ceiling() -> Check:
    """Pooled over split second-price revenue of the two-user market is unbounded."""
    eps = sp.Symbol("epsilon", positive=True)
    pooled, split = 2 * (1 + eps) / 2, 2 * eps
    ratio = pooled / split
    welfare = sp.Integer(2) / (1 + eps)
    return Check(
        "thm-revenue-unbounded",
        "revenue (1 + ε) / (2ε) → ∞ as ε → 0",
        sp.limit(ratio, eps, 0, "+") == sp.oo,
        "so does welfare, fine over coarse",
        sp.limit(welfare, eps, 0, "+") == sp.oo,
    )


def budget_family_loss() -> Check:
    """Check the three-impression family: liquid welfare, spend, and the limit of the loss."""
    eps, delta = _positive("epsilon delta")
    half = sp.Rational(1, 2)
    second, third = half - eps, half + delta
    coarse, fine = 1 + (second + third), 1 + third
    loss = (coarse - fine) / coarse
    spend_coarse, spend_fine = 2 * half, 1 * (half + half)
    shield = (second + third) / 2 - 2 * sp.Rational(1, 4)  # bid of 2 less bid of 1, pooled
    return Check(
        "ex-budget-family",
        "LW is 2 + δ - ε, then 3/2 + δ; the loss tends to 1/4; the budget is exhausted in both",
        _zero(coarse - (2 + delta - eps))
        and _zero(fine - (sp.Rational(3, 2) + delta))
        and loss.subs({eps: 0, delta: 0}) == sp.Rational(1, 4)
        and spend_coarse == spend_fine == 1
        and _zero(shield - (delta - eps) / 2),
        "bidder 2 is also shielded when δ < ε",
        bool(shield.subs({eps: 2 * delta}).is_nonnegative),
    )


def budget_family_limit() -> Fraction:
    """Return the limit of the loss along :func:`.budget_family`, where delta is twice epsilon.

    Examples
    --------
    >>> budget_family_limit()
    Fraction(1, 4)
    """
    eps = _positive("epsilon")
    second, third = sp.Rational(1, 2) - eps, sp.Rational(1, 2) + 2 * eps
    coarse, fine = 1 + second + third, 1 + third
    limit = sp.limit((coarse - fine) / coarse, eps, 0, "+")
    return Fraction(int(limit.p), int(limit.q))


def quarter_bound() -> Check:
    """One budget, two bidders: the two estimates of the pacing theorem and their product."""
    r, fine_r, gap, s = _positive("r q d s")
    rho = fine_r / r
    lost = s - 1 + fine_r * (1 / fine_r - s / r)
    held = s + r * (1 / fine_r - s / r)
    x = sp.Symbol("rho", real=True)
    quarter = sp.Rational(1, 4) - x * (1 - x)
    return Check(
        "thm-quarter",
        "loss ≤ s(1-ρ), coarse revenue ≥ 1/ρ, and ρ(1-ρ) ≤ 1/4",
        _zero(lost - s * (1 - rho))
        and _zero(held - 1 / rho)
        and _zero(quarter - (x - sp.Rational(1, 2)) ** 2)
        and _not_negative((1 - rho).subs(r, fine_r + gap)),
        "ρ(1-ρ) ≤ 1/5",
        bool((sp.Rational(1, 5) - x * (1 - x)).subs(x, sp.Rational(1, 2)) >= 0),
    )


def quarter_is_attained() -> Check:
    """Check where the duals of the limit example have their minima: r = 2, then r = 1."""
    r = sp.Symbol("r", positive=True)
    half = sp.Rational(1, 2)

    def minimum_at(kink: int, low: Any, high: Any) -> bool:
        # The dual is `low` left of the kink and `high` right of it; convex, so signs decide.
        left, right = sp.diff(low, r).subs(r, kink), sp.diff(high, r).subs(r, kink)
        return bool(low.subs(r, kink) == high.subs(r, kink) and left <= 0 <= right)

    coarse = (r / 2 + 1 - sp.log(r), r / 2 + r / 2 - sp.log(r))
    fine = (r / 2 + half + half - sp.log(r), r / 2 + r / 2 + half - sp.log(r))
    before = (coarse[0] + sp.log(r)).subs(r, 2)
    after = (fine[0] + sp.log(r)).subs(r, 1)
    return Check(
        "thm-quarter",
        "minima at r = 2 and r = 1, revenue 2 and 3/2",
        minimum_at(2, *coarse) and minimum_at(1, *fine) and after / before == sp.Rational(3, 4),
        "the fine dual also has its minimum at r = 2",
        bool(sp.diff(fine[1], r).subs(r, 2) == 0),
    )


def half_family_loss() -> Check:
    """Check the family whose loss in every pure equilibrium tends to a half."""
    m = sp.Symbol("m", positive=True)
    half, scale = sp.Rational(1, 2), 1 + 2 * m
    second, third = (1 - m) / scale, 2 * m / scale
    # Largest multiplier with which bidder 1 can pay for all that it converts.
    alpha = 1 / (m + half)
    pooled_short = (second + third) / 2 - alpha / 4  # bidder 2's bid less bidder 1's, pooled
    split_ahead = alpha * half - second  # bidder 1's bid less bidder 2's, on impression 1
    coarse, fine = 1 + second + third, 1 + third
    return Check(
        "thm-half",
        "bidder 1 cannot pay for the pool, can pay for impression 1, and fine/coarse → 1/2",
        _not_negative(pooled_short - m / (2 * scale))
        and _not_negative(split_ahead - m / scale)
        and _zero(coarse - (2 + 3 * m) / scale)
        and _zero(fine - (1 + 4 * m) / scale)
        and sp.limit(fine / coarse, m, 0) == half,
        "without impression 2 bidder 1 still cannot pay for the pool",
        _not_negative(second / 2 - alpha / 4),
    )


CHECKS: tuple[Callable[[], Check], ...] = (
    split_preserves_means,
    jensen_many_lines,
    second_highest_has_no_sign,
    first_price_cpa,
    lifting,
    shrinking_to_the_budget,
    product_of_averages,
    binding_targets,
    two_truthful_bidders,
    shading_density,
    shading_on_a_grid,
    revenue_without_ceiling,
    budget_family_loss,
    quarter_bound,
    quarter_is_attained,
    half_family_loss,
)
"""All checks, in the order of the theory pages."""


def check_all() -> pd.DataFrame:
    """Run every check.

    Returns
    -------
    DataFrame
        One row per check: ``label`` on the theory pages, ``step``, ``holds``, ``false variant``,
        ``variant refuted``.

    Examples
    --------
    >>> table = check_all()
    >>> bool(table["holds"].all()), bool(table["variant refuted"].all())
    (True, True)
    """
    rows = [run() for run in CHECKS]
    return pd.DataFrame(
        {
            "label": [c.label for c in rows],
            "step": [c.statement for c in rows],
            "holds": [c.holds for c in rows],
            "false variant": [c.false_variant for c in rows],
            "variant refuted": [not c.variant_holds for c in rows],
        }
    )
