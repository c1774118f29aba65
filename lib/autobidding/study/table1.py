"""Table 1 of the paper, every mark from a certificate: a proof, equilibrium sets, or programmes.

Source: arXiv 2605.31036, Table 1; certificates and the third mark are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lib.autobidding.bidders import Bidder, Kind
from lib.autobidding.correlated import PayoffMetric, cce_interval, common_grids
from lib.autobidding.market import check_refinement
from lib.autobidding.mechanism import Metric, Rule, check_metric, outcome
from lib.autobidding.programmes import is_feasible, lift, objective
from lib.autobidding.study.constructions import (
    B2,
    B3,
    B4,
    BUDGET_REVENUE,
    SPLIT,
    UNIQUE_BINDING,
    Construction,
    as_row_one,
    with_idle_budgets,
)
from lib.autobidding.study.instances import INSTANCES, SEED, random_refinement
from lib.autobidding.verdicts import EquilibriumCertificate, Selection, Verdict, verdict

SOLVER_TOLERANCE = 1e-6
"""Share by which the ends of an interval from linear programmes may be off, amply."""

CCE_POINTS = 41
"""Even steps of bidder 2's multipliers in the programmes over coarse correlated equilibria."""


@dataclass(frozen=True)
class ProofCertificate:
    """A theorem of the theory page, and its inequality on exact random instances.

    The instances prove nothing; they would expose a wrong statement, and expose a broken auction.

    Parameters
    ----------
    theorem : str
        Where the paper states it.
    instances : int
        Number of exact random refinements.
    smallest_gain : Fraction
        Smallest fine minus coarse value among them.
    """

    theorem: str
    instances: int
    smallest_gain: Fraction

    @property
    def mark(self) -> str:
        """``"monotone"``, unless an instance contradicts it."""
        return "monotone" if self.smallest_gain >= 0 else "falls on an instance"


def jensen_certificate(
    theorem: str, kind: Kind, rule: Rule, metric: Metric, *, broken: bool = False
) -> ProofCertificate:
    """Certify rows 1 and 6: what the auction gives is convex in the predictions.

    Parameters
    ----------
    theorem : str
    kind, rule, metric
        Who bids, at multiplier one; the auction that is run; and what of it is compared.
    broken : bool
        Control: an auction in which the lowest bid wins, and is paid.

    Examples
    --------
    >>> jensen_certificate("Theorem 5.1", "tcpa", "first", "revenue").smallest_gain >= 0
    True
    """
    rng = np.random.default_rng(SEED)
    gains = []
    for _ in range(INSTANCES):
        coarse, fine, labels = random_refinement(rng)
        check_refinement(coarse, fine, labels)
        values = [Fraction(int(x), 10) for x in rng.integers(1, 51, size=fine.n_bidders)]
        bidders = [Bidder(kind, v) for v in values]
        before, after = (
            (m.mass * np.array(values)).min(axis=1).sum()
            if broken
            else outcome(m, bidders, [1] * m.n_bidders, rule).metric(metric)
            for m in (coarse, fine)
        )
        gains.append(after - before)
    return ProofCertificate(theorem, len(gains), min(gains))


def lifting_certificate(theorem: str, *, broken: bool = False) -> ProofCertificate:
    """Certify rows 4 and 8: copy a coarse allocation to the parts of each cluster.

    On each random instance a random coarse allocation that exhausts every budget is copied; it must
    stay feasible, with *exactly* the same objective, so the fine optimum cannot be smaller. A copy
    that breaks a constraint counts as worth nothing.

    Parameters
    ----------
    theorem : str
    broken : bool
        Control: each fine cluster copies the shares of a neighbour.

    Examples
    --------
    >>> lifting_certificate("Theorem 5.11").smallest_gain
    Fraction(0, 1)
    """
    rng = np.random.default_rng(SEED)
    gains = []
    for _ in range(INSTANCES):
        coarse, fine, labels = random_refinement(rng)
        check_refinement(coarse, fine, labels)
        values = [Fraction(int(x), 10) for x in rng.integers(1, 51, size=fine.n_bidders)]
        # Shares of each cluster with a slack share, so that supply holds.
        raw = rng.integers(0, 10, size=(coarse.n_clusters, fine.n_bidders + 1))
        raw[:, -1] += 1
        shares = np.array([[Fraction(int(x), int(row.sum())) for x in row] for row in raw])[:, :-1]
        # Budgets that bind exactly: the copy must not need a cent more.
        spend = (coarse.mass * shares).sum(axis=0) * np.array(values)
        bidders = [
            Bidder("tcpa", v, s if s > 0 else None) for v, s in zip(values, spend, strict=True)
        ]
        lifted = lift(shares, np.roll(labels, 1) if broken else labels)
        kept = is_feasible(fine, bidders, lifted)
        after = objective(fine, bidders, lifted) if kept else Fraction(0)
        gains.append(after - objective(coarse, bidders, shares))
    return ProofCertificate(theorem, len(gains), min(gains))


# ── Coarse correlated equilibria, where no pure one exists ────────────────────────────────────


@dataclass(frozen=True)
class CorrelatedCertificate:
    """Metric over all coarse correlated equilibria of both models on one grid of multipliers.

    Parameters
    ----------
    metric : str
    coarse_range, fine_range : tuple of float
    pure_coarse, pure_fine : int
        Number of undominated pure equilibrium cells in each model, over all multipliers.
    """

    metric: Metric
    coarse_range: tuple[float, float]
    fine_range: tuple[float, float]
    pure_coarse: int
    pure_fine: int

    @property
    def apart(self) -> bool:
        """Whether every fine outcome lies below every coarse one, beyond a solver's tolerance."""
        return self.fine_range[1] < self.coarse_range[0] * (1 - SOLVER_TOLERANCE)


def correlated_certificate(
    construction: Construction, metric: Metric, n_points: int = CCE_POINTS
) -> CorrelatedCertificate:
    """Compare the metric's intervals over coarse correlated equilibria on a common grid.

    The grid is :func:`.common_grids`: bidder 2 has even and geometric steps up to its value, bidder
    1 all multipliers that just tie one of them in a cluster of either model: it needs no other.

    Parameters
    ----------
    construction : Construction
        In first price, with MAX-CPA bidders whose budgets, if any, cannot bind.
    metric : {"revenue", "welfare", "liquid_welfare"}
    n_points : int
        Even steps of bidder 2's multipliers, at least two.

    Raises
    ------
    ValueError
        On a budget that can bind, another kind of bidder, or fewer than two points.

    Examples
    --------
    >>> found = correlated_certificate(B4, "revenue", n_points=13)
    >>> found.fine_range[1] < found.coarse_range[0], found.pure_fine
    (True, 0)
    """
    check_metric(metric)
    # The enumeration refuses budgets that can bind.
    pure = [construction.equilibria(model) for model in ("coarse", "fine")]
    models = construction.coarse, construction.fine
    # Up to its value a bidder never spends more than its value for everything: budgets stay idle.
    grids = common_grids(models, construction.bidders, n_even=n_points)
    unlimited = [Bidder(b.kind, b.value) for b in construction.bidders]
    name: PayoffMetric = "revenue" if metric == "revenue" else "welfare"
    ranges = [cce_interval(m, unlimited, grids, name) for m in models]
    return CorrelatedCertificate(metric, ranges[0], ranges[1], len(pure[0]), len(pure[1]))


# ── Table 1 ───────────────────────────────────────────────────────────────────────────────────

Certificate = EquilibriumCertificate | ProofCertificate | CorrelatedCertificate
Judged = tuple[str, str, Certificate | None]
"""Mark, evidence and certificate of a cell."""


@dataclass(frozen=True)
class TableCell:
    """One cell of the regenerated Table 1.

    Parameters
    ----------
    row : int
        1 to 8, as in the paper.
    key : str
        Short name of the row.
    bidder, mechanism : str
    metric : {"revenue", "welfare"}
        Column; in rows with budgets ``"welfare"`` means liquid welfare.
    mark : str
        The strongest statement that the certificate proves.
    evidence : str
        Theorem or construction.
    certificate : object or None
        ``None`` where the metric is not defined.
    """

    row: int
    key: str
    bidder: str
    mechanism: str
    metric: Metric
    mark: str
    evidence: str
    certificate: Certificate | None


_COLUMNS: tuple[PayoffMetric, ...] = ("revenue", "welfare")
ROWS = (
    ("tcpa_fpa", "tCPA", "first price"),
    ("tcpa_vcg", "tCPA", "VCG = second price"),
    ("tcpa_budget_fpa", "tCPA + budget", "first price"),
    ("tcpa_budget_lp", "tCPA + budget", "LP benchmark"),
    ("maxcpa_fpa", "MAX-CPA", "first price"),
    ("maxcpa_vcg", "MAX-CPA", "VCG = second price"),
    ("maxcpa_budget_fpa", "MAX-CPA + budget", "first price"),
    ("maxcpa_budget_lp", "MAX-CPA + budget", "LP benchmark"),
)


def table1(n_points: int = CCE_POINTS, *, broken: bool = False) -> list[TableCell]:
    """Regenerate Table 1 of the paper, every mark from a certificate.

    Parameters
    ----------
    n_points : int
        Size of the grid for the coarse correlated equilibria of rows 5 and 7.
    broken : bool
        Control, in which every mark has to change: the proofs of rows 1, 4, 6 and 8 get a broken
        auction or a broken copy, the constructions are sold :func:`.as_row_one`, and the bidders
        of row 8 pay their values as those of row 4 do.

    Returns
    -------
    list of TableCell
        Eight rows times two metrics, in the paper's order.
    """
    cells = []
    for number, (key, bidder, mechanism) in enumerate(ROWS, start=1):
        for metric in _COLUMNS:
            mark, evidence, certificate = _certify(key, metric, n_points, broken)
            cells.append(
                TableCell(number, key, bidder, mechanism, metric, mark, evidence, certificate)
            )
    return cells


def _certify(key: str, metric: Metric, n_points: int, broken: bool) -> Judged:
    revenue = metric == "revenue"
    if key == "maxcpa_budget_lp" and revenue:
        if broken:
            return _certify("tcpa_budget_lp", metric, n_points, False)
        # Payments of a MAX-CPA bidder are no part of the LP, so there is nothing to measure.
        return "not defined", "the LP has no payments", None
    sold: dict[tuple[str, str], tuple[str, Kind, Rule]] = {
        ("tcpa_fpa", "revenue"): ("Theorem 5.1", "tcpa", "first"),
        ("tcpa_fpa", "welfare"): ("Corollary 5.3", "tcpa", "first"),
        ("maxcpa_vcg", "welfare"): ("Theorem 5.5", "maxcpa", "vcg"),
    }
    if (key, metric) in sold or key.endswith("_lp"):
        if key.endswith("_lp"):
            proof = lifting_certificate("Theorem 5.11", broken=broken)
        else:
            proof = jensen_certificate(*sold[key, metric], metric, broken=broken)
        return proof.mark, proof.theorem, proof
    if broken:
        split, spent = (SPLIT, BUDGET_REVENUE) if revenue else (UNIQUE_BINDING, B2)
        used = {"tcpa_vcg": split, "tcpa_budget_fpa": spent, "maxcpa_vcg": B3}.get(key, B4)
        return _judged(as_row_one(used), metric, "maximal")
    if key in ("maxcpa_fpa", "maxcpa_budget_fpa"):
        construction = B4 if key == "maxcpa_fpa" else with_idle_budgets(B4)
        counted: Metric = metric if revenue or key == "maxcpa_fpa" else "liquid_welfare"
        found = correlated_certificate(construction, counted, n_points)
        mark = "violated in every CCE on the grid" if found.apart else "undecided on the grid"
        return mark, construction.name, found
    # The last entry: dominated multipliers make the set larger, so a verdict on all is stronger.
    choices: dict[tuple[str, str], tuple[Construction, Metric, Selection, bool]] = {
        ("tcpa_vcg", "revenue"): (SPLIT, "revenue", "all", True),
        ("tcpa_vcg", "welfare"): (UNIQUE_BINDING, "welfare", "binding", True),
        ("tcpa_budget_fpa", "revenue"): (BUDGET_REVENUE, "revenue", "all", False),
        ("tcpa_budget_fpa", "welfare"): (B2, "liquid_welfare", "all", False),
        ("maxcpa_vcg", "revenue"): (B3, "revenue", "all", True),
    }
    construction, name, selection, undominated = choices[key, metric]
    return _judged(construction, name, selection, undominated)


def _judged(used: Construction, metric: Metric, chosen: Selection, best: bool = True) -> Judged:
    found = construction_verdict(used, metric, selection=chosen, undominated=best)
    return found.mark.replace("for_", "for_a_").replace("_", " "), used.name, found.certificate


def construction_verdict(
    construction: Construction,
    metric: Metric,
    *,
    selection: Selection = "all",
    undominated: bool = True,
) -> Verdict:
    """Call :func:`verdict` on the two models of a construction.

    Its certificate's ranges are those of closures: a loss computed from their ends is approached,
    and need not be attained. Welfare is constant on a cell, so there the ends are attained.

    Examples
    --------
    >>> construction_verdict(B2, "liquid_welfare", undominated=False).mark
    'violated_in_every_equilibrium'
    >>> construction_verdict(B2, "revenue", selection="maximal").mark
    'violated_for_selection'
    """
    return verdict(
        construction.coarse,
        construction.fine,
        construction.labels,
        construction.bidders,
        construction.rule,
        metric,
        selection=selection,
        undominated=undominated,
    )
