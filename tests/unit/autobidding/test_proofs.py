"""The steps of chapter 1's proofs, and that the pages name every one of them."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.autobidding.bidders import Bidder
from lib.autobidding.equilibrium import equilibria_2p
from lib.autobidding.market import Market
from lib.autobidding.pacing import fppe
from lib.autobidding.study import instances, proofs
from lib.autobidding.study.constructions import (
    BEST_SELECTION,
    UNIQUE_BINDING,
    binding_multipliers,
    half_family,
)
from lib.autobidding.verdicts import verdict
from lib.core.paths import ROOT

PAGES = ROOT / "book" / "ch01_autobidding"


def _labels(page: Path) -> set[str]:
    return set(re.findall(r"^:label: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("step", proofs.STEPS, ids=lambda step: step.decide.__name__)
def test_step_holds_and_its_false_variant_fails(step):
    assert step.decide() == (True, False)


RESIDUALS = {
    "_split": ["0", "(n1 - n2) * (n2*s1 - n1*s2) / (2*U*n1*n2)"],
    "_jensen": ["lambda1*s1 + lambda2*s2 + lambda3*s3", "lambda1*s"],
    "_first_price_cpa": ["0", "(d1*w1 + d2*w2 + d3*w3) / (p1*w1 + p2*w2 + p3*w3) - mu*t"],
    "_lifting": ["0", "a*eta*n1*x"],
    "_shrinking": ["0", "-c**2/B"],
    "_two_truthful": ["0", "1"],
    "_three": [],
    "_shading": ["0", "0"],
    "_budget_family": ["0", "0", "0"],
    "_quarter": ["0", "0", "0"],
    "_half_family": ["0", "0", "-m / (4*m + 2)"],
}
"""What each step asks SymPy about; of a false variant, by how much it fails."""


@pytest.fixture
def asked(monkeypatch):
    """What is asked of SymPy, and the answers."""
    found = []

    def recording(decide):
        def ask(expression):
            found.append((sp.sympify(expression), decide(expression)))
            return found[-1][1]

        return ask

    for name in ("_zero", "_not_negative"):
        monkeypatch.setattr(proofs, name, recording(getattr(proofs, name)))
    return found


def _at_a_point(expression) -> sp.Expr:
    """Put a fraction of its own in the place of each symbol."""
    point = {one: sp.Rational(sum(map(ord, one.name)), 7) for one in expression.free_symbols}
    return sp.simplify(expression.subs(point))


@pytest.mark.parametrize("step", proofs.STEPS, ids=lambda step: step.decide.__name__)
def test_false_variants_fail_by_what_they_change(step, asked):
    step.decide()
    found = [_at_a_point(expression) for expression, _ in asked]
    assert found == [_at_a_point(sp.sympify(text)) for text in RESIDUALS[step.decide.__name__]]


@pytest.mark.parametrize("step", proofs.STEPS, ids=lambda step: step.decide.__name__)
def test_every_identity_of_a_step_counts(step, asked, monkeypatch):
    """Turn one answer at a time: the step, or the refutation of its variant, must fall."""
    step.decide()
    answers = [answer for _, answer in asked]
    for turned in range(len(answers)):
        told = iter([answer != (k == turned) for k, answer in enumerate(answers)])
        # A step that has fallen already need not ask further.
        for name in ("_zero", "_not_negative"):
            monkeypatch.setattr(proofs, name, lambda _, told=told: next(told, False))
        assert step.decide() != (True, False)


def test_every_step_belongs_to_a_statement_on_the_pages():
    labels = (
        _labels(PAGES / "theory.md") | _labels(PAGES / "beyond.md") | _labels(PAGES / "ceilings.md")
    )
    assert {step.label for step in proofs.STEPS} <= labels


def test_check_all_is_one_row_a_step():
    table = proofs.check_all()
    assert len(table) == len(proofs.STEPS) == 11
    assert list(table) == ["label", "step", "holds", "false variant", "variant refuted"]
    assert table["holds"].all()
    assert table["variant refuted"].all()


def test_not_negative_does_not_guess():
    x = sp.Symbol("x", real=True)
    assert not proofs._not_negative(x)
    assert not proofs._not_negative(x - x**2)
    assert proofs._not_negative(x**2)


# ── The theorems of beyond.md against the enumeration of equilibria ───────────────────────────


@pytest.mark.parametrize("m", [Fraction(1, 4), Fraction(1, 10), Fraction(1, 100)])
def test_half_family_loses_in_every_pure_equilibrium(m):
    example = half_family(m)
    fine, labels, bidders = example.fine, example.labels, example.bidders
    found = verdict(fine.coarsen(labels), fine, labels, bidders, "first", "liquid_welfare")
    assert found.mark == "violated_in_every_equilibrium"
    scale = 1 + 2 * m
    assert found.certificate.coarse_range == ((2 + 3 * m) / scale,) * 2
    assert found.certificate.fine_range == ((1 + 4 * m) / scale,) * 2


def test_half_family_does_not_lose_without_its_shield():
    example = half_family(Fraction(1, 10))
    fine, bidders = example.fine, example.bidders
    labels = (0, 1, 2)
    found = verdict(fine.coarsen(labels), fine, labels, bidders, "first", "liquid_welfare")
    assert found.mark == "monotone_here"


def test_drawn_to_mean_keeps_totals_and_goes_part_of_the_way():
    fine = Market.exact([1, 3], [("4/5", 0), ("2/5", 1)])
    half = instances.drawn_to_mean(fine, Fraction(1, 2))
    assert half.mass.sum(axis=0).tolist() == fine.mass.sum(axis=0).tolist()
    assert half.predictions.tolist() == [
        [Fraction(13, 20), Fraction(3, 8)],
        [Fraction(9, 20), Fraction(7, 8)],
    ]
    assert (instances.drawn_to_mean(fine, 0).predictions == fine.predictions).all()
    assert instances.drawn_to_mean(fine, 1).predictions[:, 0].tolist() == [Fraction(1, 2)] * 2
    for share in (-1, 2):
        with pytest.raises(ValueError, match=f"share is {share}"):
            instances.drawn_to_mean(fine, share)


def test_count_changes_counts_signs_and_measures_the_fine_model_after():
    def mass(market, _values):
        return market.mass.sum()

    assert instances.count_changes(mass, instances=7) == instances.Changes(0, 7, 0)
    more = instances.count_changes(mass, after=lambda m, v: mass(m, v) + 1, instances=7)
    less = instances.count_changes(mass, after=lambda m, v: mass(m, v) - 1, instances=7)
    assert (more, less) == (instances.Changes(0, 0, 7), instances.Changes(7, 0, 0))
    assert instances.count_changes(mass, to_mean=Fraction(1, 2), instances=7).ties == 7


tenths = st.integers(0, 10).map(lambda k: Fraction(k, 10))
rows = st.lists(st.tuples(tenths, tenths), min_size=1, max_size=4)


@settings(max_examples=60)
@given(rows, st.sampled_from([1, 2, 5]), st.integers(1, 20))
def test_pure_equilibria_with_one_budget_reach_each_half_of_the_optimum(predictions, target, b):
    budget = Fraction(b, 10)
    market = Market.exact([1] * len(predictions), predictions)
    bidders = (Bidder("tcpa", Fraction(target), budget), Bidder("tcpa", Fraction(1)))
    most, rival = (market.mass.sum(axis=0) * np.array([Fraction(target), Fraction(1)])).tolist()
    for cell in equilibria_2p(market, bidders, "first", undominated=False):
        assert cell.liquid_welfare >= max(rival, min(budget, most))


@settings(max_examples=60)
@given(rows, st.integers(1, 30), st.data())
def test_pacing_with_one_budget_loses_at_most_a_quarter(predictions, b, data):
    fine = Market.exact([1] * len(predictions), predictions).to_float()
    size = len(predictions)
    labels = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    labels = np.unique(labels, return_inverse=True)[1]
    values, budgets = np.array([5.0, 1.0]), np.array([b / 10, np.inf])
    before = fppe(fine.coarsen(labels), values, budgets).revenue
    after = fppe(fine, values, budgets).revenue
    assert after >= 0.75 * before - 1e-6


def test_a_quarter_is_attained_in_pacing_equilibrium():
    fine = Market.exact([1] * 3, [("1/2", 0), ("1/2", "1/2"), (0, "1/2")]).to_float()
    values, budgets = np.array([5.0, 1.0]), np.array([1.0, np.inf])
    before = fppe(fine.coarsen([0, 1, 1]), values, budgets).revenue
    after = fppe(fine, values, budgets).revenue
    assert (before, after) == (pytest.approx(2), pytest.approx(1.5))


positive = st.integers(1, 10).map(lambda k: Fraction(k, 10))


@settings(max_examples=60)
@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=4), st.sampled_from([1, 2, 5]))
def test_worst_second_price_equilibrium_is_worth_the_stronger_bidder(predictions, target):
    market = Market.exact([1] * len(predictions), predictions)
    bidders = (Bidder("tcpa", Fraction(target)), Bidder("tcpa", Fraction(1)))
    alone = (market.mass.sum(axis=0) * np.array([Fraction(target), Fraction(1)])).max()
    cells = equilibria_2p(market, bidders, "second")
    assert min(cell.welfare for cell in cells) == alone


def test_best_selection_and_unique_binding_have_the_welfare_of_the_page():
    def best(market, bidders):
        return max(c.welfare for c in equilibria_2p(market, bidders, "second"))

    example = BEST_SELECTION
    assert best(example.coarse, example.bidders) == Fraction(12, 5)
    assert best(example.fine, example.bidders) == Fraction(23, 10)
    example = UNIQUE_BINDING
    points = [
        binding_multipliers(example.coarse, example.bidders, example.coarse_winners),
        binding_multipliers(example.fine, example.bidders, example.fine_winners),
    ]
    assert points == [
        (Fraction(350, 201), Fraction(600, 53)),
        (Fraction(50), Fraction(800, 353)),
    ]
