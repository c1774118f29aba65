"""Each algebraic step of chapter 1's proofs, checked by SymPy beside a false variant.

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

import numpy as np
import pandas as pd
import sympy as sp

from lib.autobidding.certificates import PROOF_INSTANCES, PROOF_SEED, random_refinement
from lib.autobidding.constructions import BEST_SELECTION, UNIQUE_BINDING, Construction
from lib.autobidding.market import Market


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


# ── Refinement and Jensen ─────────────────────────────────────────────────────────────────────


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


def jensen_two_lines() -> Check:
    """Jensen for a maximum of two lines over two parts, by the sign of their difference d.

    ``max(x1, x2) = x1 + max(d, 0)`` with ``d = x2 - x1``, and the linear term cancels. The cases
    are the signs of d in the parts and at the mean.
    """
    a, b = _amounts("a b")  # sizes of d in the two parts
    lam, mu = _positive("lambda mu")  # shares of the parts; that they add up to one is not needed
    margins = [
        lam * a + mu * b - (lam * a + mu * b),  # both parts prefer bidder 2
        lam * 0 + mu * 0,  # both prefer bidder 1
        lam * a - (lam * a - mu * b),  # they differ, the mean prefers bidder 2
        lam * a,  # they differ, the mean prefers bidder 1
    ]
    # For the minimum, min(x1, x2) = x1 + min(d, 0): the same gap with the opposite sign.
    return Check(
        "lem-jensen",
        "Σ λ max(x1, x2) ≥ max at the mean, in each of the four sign cases",
        all(_not_negative(m) for m in margins),
        "the same for the minimum",
        all(_not_negative(-m) for m in margins),
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


# ── Rows 1, 4, 6, 8 ───────────────────────────────────────────────────────────────────────────


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


def dominance_of_truth() -> Check:
    """Second price: bidding above value gains only clusters that cost more than they bring."""
    value, more = _positive("v m")
    # A cluster won by overbidding only has a price of value + more.
    return Check(
        "lem-vcg-truth",
        "a cluster won only by bidding above value loses money",
        _not_negative(-(value - (value + more))),
        "it earns money",
        _not_negative(value - (value + more)),
    )


def low_multiplier_keeps_allocation() -> Check:
    """Check that a bidder without a rival can pay less for the same conversions."""
    mu, target, won = sp.symbols("mu t V", positive=True)
    revenue = mu * target * won
    loss = (revenue.subs(mu, 1) - revenue.subs(mu, sp.Rational(1, 10))) / revenue.subs(mu, 1)
    return Check(
        "ex-low-multiplier",
        "at μ = 1/10 with an unchanged allocation nine tenths of revenue are gone",
        _zero(loss - sp.Rational(9, 10)),
        "revenue depends on the allocation alone",
        _zero(sp.diff(revenue, mu)),
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


# ── Constructions: binding constraints as equations ───────────────────────────────────────────


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


def binding_budget() -> Check:
    """In first price a budget is exhausted at B over the conversions won."""
    alpha, budget, won, extra = _positive("alpha B M m")
    exhausted = sp.solve(alpha * won - budget, alpha)[0]
    return Check(
        "ex-budget-family",
        "α = B / M(S) exhausts the budget, and falls when S grows",
        _zero(exhausted - budget / won)
        and _not_negative(exhausted - exhausted.subs(won, won + extra)),
        "the same α still keeps the budget when S grows",
        _not_negative(budget - exhausted * (won + extra)),
    )


# ── Beyond the paper ──────────────────────────────────────────────────────────────────────────


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


def ceiling_second_price() -> Check:
    """κ = 2 in second price: 2 Wel - OPT as a sum of slacks."""
    lost, kept, price, roi, rest = _amounts("OPT_L OPT_W s1 s2 s3")
    payments = lost + price  # prices where the right bidder loses are at least its value there
    # Welfare is bounded below twice: by payments (targets are met) and by the value kept.
    by_target, by_value = payments + roi, kept + rest
    return Check(
        "prop-kappa-spa",
        "Wel ≥ payments ≥ OPT_L and Wel ≥ OPT_W give 2 Wel - OPT ≥ 0",
        _not_negative(by_target + by_value - (lost + kept)),
        "the same without Wel ≥ payments (a target that is not met)",
        _not_negative(by_value + by_value - (lost + kept)),
    )


def pacing_liquid_welfare() -> Check:
    """In a pacing equilibrium each bidder's liquid welfare is what it pays."""
    budget, spend, headroom, factor = _positive("B S h f")
    # Paced: value = spend / β with β = 1/(1 + f), and spend = B. Unpaced: value = spend, B = S + h.
    paced = sp.Min(budget, sp.expand(budget * (1 + factor))) - budget
    unpaced = sp.Min(spend + headroom, spend) - spend
    idle = sp.Min(spend + headroom, spend * (1 + factor)) - spend
    return Check(
        "prop-kappa-fppe",
        "min(B, value) = spend, paced or not",
        _zero(paced) and _zero(unpaced),
        "also for a bidder that is paced and has budget left",
        _zero(idle),
    )


def ceiling_pacing() -> Check:
    """κ = 2 in pacing equilibrium: 2 LW - OPT as a sum of slacks."""
    paced, unpaced, first, second = _amounts("OPT_paced OPT_unpaced s1 s2")
    by_budgets, by_prices = paced + first, unpaced + second
    return Check(
        "prop-kappa-fppe",
        "LW ≥ Σ budgets of paced bidders and LW ≥ Σ prices give 2 LW - OPT ≥ 0",
        _not_negative(by_budgets + by_prices - (paced + unpaced)),
        "either bound alone gives LW - OPT ≥ 0",
        _not_negative(by_budgets - (paced + unpaced)),
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


def half_bound() -> Check:
    """Check the step that an unaffordable cluster leaves its worth to the rival."""
    r, over, won, next_won, slack = _amounts("r c M_S M_N s")
    target = r + over  # the case t1 > r
    rival = r * next_won  # bidder 2's value on the cheapest lost clusters
    welfare = target * won + rival + slack
    cost = r * (won + next_won)
    return Check(
        "thm-half",
        "t1 M(S) + r M(N) ≥ r (M(S) + M(N)) when t1 ≥ r",
        _not_negative(welfare - cost),
        "also when t1 < r",
        _not_negative((r * won + rival) - ((r + over) * won + rival)),
    )


def shutout_floor() -> Check:
    """With undominated bids, welfare is at least what either bidder is worth alone."""
    mass, target, over, roi, rest = _amounts("P2_S t2 c s V2")
    # Bidder 1 pays g2 P2(S) with g2 = t2 + c, and its value is that plus slack.
    value_one = (target + over) * mass + roi
    dominated = _plain("c0")
    return Check(
        "thm-shutout",
        "Wel - T2 is a sum of slacks if g2 ≥ t2",
        _not_negative(value_one + rest - (target * mass + rest)),
        "also for a multiplier below the target",
        _not_negative((target + dominated) * mass - target * mass),
    )


def best_selection_gap() -> Check:
    """No fine equilibrium has the allocation that gave the best coarse welfare."""
    market, bidders = BEST_SELECTION.fine, BEST_SELECTION.bidders
    p, q = _columns(BEST_SELECTION)
    first, second = (sp.Rational(b.value) for b in bidders)
    last = market.n_clusters - 1
    # Bidder 2 keeps its target on the last impression, bidder 1 must outbid it on the middle one.
    top_one = second * q[last] / p[last]
    top_two = top_one * p[1] / q[1]
    return Check(
        "ex-best",
        "then bidder 1 could also take everything within its target",
        bool(top_two * sum(q) < first * sum(p)),
        "bidder 1 could do so at any multiplier of bidder 2",
        bool(10 * top_two * sum(q) < first * sum(p)),
    )


def unique_binding_candidates() -> Check:
    """Of all candidate sets of the fine model, one binding point wins what it should."""

    def survivors(order: list[int]) -> list[int]:
        p, q = _columns(UNIQUE_BINDING)
        first, second = (sp.Rational(b.value) for b in UNIQUE_BINDING.bidders)
        found = []
        for size in range(1, len(order)):
            mine, theirs = order[:size], order[size:]
            g2 = first * sum(p[k] for k in mine) / sum(q[k] for k in mine)
            g1 = second * sum(q[k] for k in theirs) / sum(p[k] for k in theirs)
            wins = all(g1 * p[k] >= g2 * q[k] for k in mine)
            if wins and all(g1 * p[k] < g2 * q[k] for k in theirs):
                found.append(size)
        return found

    p, q = _columns(UNIQUE_BINDING)
    by_ratio = sorted(range(len(p)), key=lambda k: q[k] / p[k])
    return Check(
        "ex-unique",
        "exactly one threshold set of the fine model is won at its binding multipliers",
        len(survivors(by_ratio)) == 1,
        "so is some set that is not a threshold set (the reverse order)",
        len(survivors(by_ratio[::-1])) > 0,
    )


def _columns(construction: Construction) -> tuple[list[Any], list[Any]]:
    """Each bidder's predictions in the fine model (unit weights), as SymPy rationals."""
    rows = construction.fine.predictions
    return [sp.Rational(x) for x in rows[:, 0]], [sp.Rational(x) for x in rows[:, 1]]


CHECKS: tuple[Callable[[], Check], ...] = (
    split_preserves_means,
    jensen_two_lines,
    jensen_many_lines,
    first_price_cpa,
    low_multiplier_keeps_allocation,
    dominance_of_truth,
    lifting,
    shrinking_to_the_budget,
    product_of_averages,
    binding_targets,
    binding_budget,
    two_truthful_bidders,
    second_highest_has_no_sign,
    ceiling_second_price,
    pacing_liquid_welfare,
    ceiling_pacing,
    shading_density,
    shading_on_a_grid,
    revenue_without_ceiling,
    budget_family_loss,
    quarter_bound,
    quarter_is_attained,
    half_family_loss,
    half_bound,
    shutout_floor,
    best_selection_gap,
    unique_binding_candidates,
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


# ── Random exact markets: a check, not a proof ────────────────────────────────────────────────


@dataclass(frozen=True)
class Changes:
    """How often a measure fell, stayed and rose from coarse to fine models.

    Parameters
    ----------
    falls, ties, rises : int
        Numbers of random refinements; compared exactly.
    """

    falls: int
    ties: int
    rises: int


def drawn_to_mean(market: Market, share: Fraction | int) -> Market:
    """Draw every prediction some of the way to its bidder's mean over the whole market.

    Each bidder keeps its total, but the market no longer agrees with a coarser one cluster by
    cluster: the miscalibrated control of every theorem that rests on calibration.

    Parameters
    ----------
    market : Market
    share : Fraction or int, in [0, 1]
        0 changes nothing, 1 leaves a single prediction for each bidder.

    Raises
    ------
    ValueError
        On a share outside [0, 1].

    Examples
    --------
    >>> fine = Market.exact([1, 3], [["0.8"], ["0.4"]])
    >>> drawn_to_mean(fine, Fraction(1, 2)).predictions.ravel().tolist()
    [Fraction(13, 20), Fraction(9, 20)]
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; expected a number from 0 to 1")
    mean = market.mass.sum(axis=0) / market.weights.sum()
    return Market(market.weights, (1 - share) * market.predictions + share * mean)


def count_changes(
    measure: Callable[[Market, tuple[Fraction, ...]], Any],
    *,
    after: Callable[[Market, tuple[Fraction, ...]], Any] | None = None,
    n_bidders: int = 3,
    to_mean: Fraction | int = 0,
    instances: int = PROOF_INSTANCES,
    seed: int = PROOF_SEED,
) -> Changes:
    """Compare a measure on random exact markets and their coarsenings.

    A theorem that is wrong would very likely show up here; one that survives is not thereby proved.

    Parameters
    ----------
    measure : callable
        Takes a market and one value per bidder, and returns an exact number.
    after : callable, optional
        What is measured on the fine model, if not the same: a premise broken on purpose.
    n_bidders : int
    to_mean : Fraction or int, in [0, 1]
        How far :func:`drawn_to_mean` spoils the fine model, which it leaves miscalibrated against
        the coarse one: a control.
    instances, seed : int

    Returns
    -------
    Changes

    Examples
    --------
    >>> from lib.autobidding.certificates import top_value
    >>> count_changes(top_value, instances=20).falls
    0
    >>> count_changes(top_value, instances=20, to_mean=Fraction(3, 4)).falls > 0
    True
    """
    rng = np.random.default_rng(seed)
    signs = []
    for _ in range(instances):
        coarse, fine, _labels = random_refinement(rng, n_bidders=n_bidders)
        values = tuple(Fraction(int(v), 10) for v in rng.integers(1, 51, size=n_bidders))
        first = measure(coarse, values)
        second = (after or measure)(drawn_to_mean(fine, to_mean), values)
        signs.append((second > first) - (second < first))
    return Changes(signs.count(-1), signs.count(0), signs.count(1))
