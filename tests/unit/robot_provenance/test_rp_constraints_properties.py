"""PROV-CONSTRAINTS on generated documents: laws, and a second, plain implementation."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from prov.model import ProvDocument
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lib.robot_provenance.constraints import check
from lib.robot_provenance.constraints.normalise import read
from lib.robot_provenance.constraints.ordering import Events

quick = settings(max_examples=60)

# A statement is (kind, arguments, identifier); None is a missing argument.
Row = tuple[str, tuple[str | datetime | None, ...], str | None]

MAKERS = {
    "entity": lambda d, a, i: d.entity(a[0]),
    "empty": lambda d, a, i: d.entity(
        a[0], {"prov:type": d.valid_qualified_name("prov:EmptyCollection")}
    ),
    "activity": lambda d, a, i: d.activity(*a),
    "agent": lambda d, a, i: d.agent(a[0]),
    "gen": lambda d, a, i: d.generation(*a, identifier=i),
    "use": lambda d, a, i: d.usage(*a, identifier=i),
    "inv": lambda d, a, i: d.invalidation(*a, identifier=i),
    "start": lambda d, a, i: d.start(*a, identifier=i),
    "end": lambda d, a, i: d.end(*a, identifier=i),
    "inform": lambda d, a, i: d.communication(*a, identifier=i),
    "derive": lambda d, a, i: d.derivation(*a, identifier=i),
    "attribute": lambda d, a, i: d.attribution(*a, identifier=i),
    "associate": lambda d, a, i: d.association(*a, identifier=i),
    "delegate": lambda d, a, i: d.delegation(*a, identifier=i),
    "influence": lambda d, a, i: d.influence(*a, identifier=i),
    "special": lambda d, a, i: d.specialization(*a),
    "alternate": lambda d, a, i: d.alternate(*a),
    "member": lambda d, a, i: d.membership(*a),
}


def build(rows: list[Row]) -> ProvDocument:
    document = ProvDocument()
    document.add_namespace("ex", "http://example.org/")

    def named(value):
        return f"ex:{value}" if isinstance(value, str) else value

    for kind, args, ident in rows:
        MAKERS[kind](document, tuple(map(named, args)), named(ident))
    return document


MOMENTS = [datetime(2026, 1, 1, h, tzinfo=UTC) for h in range(3)]
entities = st.sampled_from(["e0", "e1", "e2", "e3"])
activities = st.sampled_from(["a0", "a1", "a2"])
agents = st.sampled_from(["g0", "e0", "a0"])
moments = st.sampled_from([None, None, *MOMENTS])
names = st.sampled_from([None, None, None, "i0", "i1", "i2"])


def maybe(values):
    return st.none() | values


def row(kind, *args, ident=names):
    return st.tuples(st.just(kind), st.tuples(*args), ident)


none = st.none()
UNTIMED = [
    row("entity", entities, ident=none),
    row("activity", activities, ident=none),
    row("gen", entities, maybe(activities), none, ident=none),
    row("use", activities, maybe(entities), none, ident=none),
    row("inv", entities, maybe(activities), none, ident=none),
    row("start", activities, maybe(entities), maybe(activities), none, ident=none),
    row("end", activities, maybe(entities), maybe(activities), none, ident=none),
    row("inform", activities, activities, ident=none),
    row("derive", entities, entities, ident=none),
    row("derive", entities, entities, activities, ident=none),
    row("attribute", entities, agents, ident=none),
    row("associate", activities, maybe(agents), maybe(entities), ident=none),
    row("delegate", agents, agents, maybe(activities), ident=none),
    row("special", entities, entities, ident=none),
]
WILD = [
    *UNTIMED,
    row("empty", entities, ident=none),
    row("agent", agents, ident=none),
    row("activity", activities, moments, moments, ident=none),
    row("gen", entities, maybe(activities), moments),
    row("use", activities, maybe(entities), moments),
    row("inv", entities, maybe(activities), moments),
    row("start", activities, maybe(entities), maybe(activities), moments),
    row("end", activities, maybe(entities), maybe(activities), moments),
    row("inform", activities, activities),
    row("derive", entities, entities, maybe(activities), names, names),
    row("attribute", entities, agents),
    row("influence", entities, entities),
    row("alternate", entities, entities, ident=none),
    row("member", entities, entities, ident=none),
]
untimed = st.lists(st.one_of(UNTIMED), max_size=12)
wild = st.lists(st.one_of(WILD), max_size=10)


# ---- laws ------------------------------------------------------------------------------------


@quick
@given(wild, wild)
def test_adding_statements_never_makes_an_invalid_document_valid(rows, more):
    before, after = check(build(rows)), check(build(rows + more))
    if not before.valid:
        assert not after.valid


@quick
@given(wild, wild)
def test_adding_statements_never_removes_the_last_clock_finding(rows, more):
    before, after = check(build(rows)), check(build(rows + more))
    if before.counts():
        assert after.counts()


@quick
@given(wild, st.permutations(["e0", "e1", "e2", "e3", "a0", "a1", "a2", "g0", "i0", "i1", "i2"]))
def test_renaming_identifiers_keeps_the_verdict(rows, shuffled):
    plain = ["e0", "e1", "e2", "e3", "a0", "a1", "a2", "g0", "i0", "i1", "i2"]
    new = {old: f"n-{name}" for old, name in zip(plain, shuffled, strict=True)}
    renamed = [(k, tuple(new.get(a, a) for a in args), new.get(i)) for k, args, i in rows]
    assert check(build(rows)).valid == check(build(renamed)).valid
    assert bool(check(build(rows)).counts()) == bool(check(build(renamed)).counts())


@quick
@given(wild, st.randoms(use_true_random=False))
def test_the_order_of_statements_keeps_the_report(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert check(build(rows)) == check(build(shuffled))


@quick
@given(wild)
def test_round_trips_keep_the_report(rows):
    document = build(rows)
    expected = check(document)
    for form in ("json", "provn"):
        again = ProvDocument.deserialize(content=document.serialize(format=form), format=form)
        assert check(again) == expected


@quick
@given(wild)
def test_repeating_a_document_changes_no_verdict(rows):
    # Anonymous statements may repeat: each is an event of its own or merges with its twin.
    assert check(build(rows)).valid == check(build(rows + rows)).valid


@quick
@given(untimed)
def test_five_constraints_decide_the_order(rows):
    events = Events(read(build(rows)))
    keep = [one for one in events.edges if one.number in {34, 42, 43, 45, 48}]
    cyclic = False
    if keep:
        n = len(events)
        u, v = (np.array([one[i] for one in keep]) for i in (0, 1))
        matrix = coo_matrix((np.ones(len(keep)), (u, v)), shape=(n, n))
        _, label = connected_components(matrix.tocsr(), connection="strong")
        cyclic = bool((np.array([one.strict for one in keep]) & (label[u] == label[v])).any())
    assert cyclic == ("42" in {v.code for v in check(build(rows)).violations})


@quick
@given(untimed)
def test_communications_add_nothing(rows):
    """What inferences 5 and 6 conclude, one step of each, changes no verdict (a proposition)."""
    made = [args[:2] for kind, args, _ in rows if kind == "gen" and args[1] is not None]
    used = [args[:2] for kind, args, _ in rows if kind == "use" and args[1] is not None]
    more = [("inform", (by, maker), None) for by, e in used for f, maker in made if e == f]
    informed = [args for kind, args, _ in rows if kind == "inform"]
    for i, (follower, informant) in enumerate(informed):
        more.append(("gen", (f"between{i}", informant, None), None))
        more.append(("use", (follower, f"between{i}", None), None))
    assert check(build(rows)).valid == check(build(rows + more)).valid


# ---- a second implementation -----------------------------------------------------------------


def plain_order_verdict(rows: list[Row]) -> bool:
    """Say whether constraints 30 to 49 admit an order: every rule pair by pair, closed by Warshall.

    For documents without identifiers and times on events. Unknowns are fresh names, so this is a
    chase of its own, with no contraction of simultaneous events.
    """
    fresh = (f"?{i}" for i in itertools.count())
    full = [(k, [a if a is not None else next(fresh) for a in args]) for k, args, _ in rows]
    declared = {a[0] for k, a in full if k == "entity"}
    special = {(a[0], a[1]) for k, a in full if k == "special"}
    while True:  # inference 19
        more = {(a, d) for a, b in special for c, d in special if b == c} - special
        if not more:
            break
        special |= more
    declared |= {a for a, b in special if b in declared}  # inference 21
    events: list[tuple] = []  # (kind, of, by)
    derivations, use_before = [], []
    for kind, args in full:
        if kind in ("gen", "inv"):
            events.append((kind, args[0], args[1]))
        elif kind == "use":
            events.append(("use", args[1], args[0]))
        elif kind in ("start", "end"):
            events.append((kind, args[0], args[1]))
            events.append(("gen", args[1], args[2]))  # inferences 9 and 10
        elif kind == "attribute":
            events.append(("gen", args[0], next(fresh)))  # inference 13
        elif kind == "derive":
            derivations.append((args[0], args[1]))
            if len(args) > 2:  # inference 11
                use_before.append((len(events), len(events) + 1))
                events += [("use", args[1], args[2]), ("gen", args[0], args[2])]
    events += [(k, e, next(fresh)) for e in sorted(declared) for k in ("gen", "inv")]
    for activity in sorted({a[0] for k, a in full if k == "activity"}):
        events += [(k, activity, next(fresh)) for k in ("start", "end")]

    n = len(events)
    weak, strict = np.eye(n, dtype=bool), np.zeros((n, n), dtype=bool)
    for u, v in use_before:
        weak[u, v] = True  # 41
    pairs = {kind: {(a[0], a[1]) for k, a in full if k == kind} for kind in ("inform", "associate")}
    pairs["attribute"] = {(a[0], a[1]) for k, a in full if k == "attribute"}
    pairs["delegate"] = {(a[0], a[1]) for k, a in full if k == "delegate"}
    for _, a in ((k, a) for k, a in full if k == "delegate"):  # inference 14
        pairs["associate"] |= {(a[2], a[0]), (a[2], a[1])}
    for (i, (k, x, by)), (j, (m, y, to)) in itertools.product(enumerate(events), repeat=2):
        two = (k, m)
        weak[i, j] |= (
            (two == ("start", "end") and x == y)
            or (k == m and k != "use" and x == y)
            or (two == ("start", "use") and x == to)
            or (two == ("use", "end") and by == y)
            or (two == ("start", "gen") and x == to)
            or (two == ("gen", "end") and by == y)
            or (two == ("start", "end") and (y, x) in pairs["inform"])
            or (two in {("gen", "inv"), ("gen", "use"), ("use", "inv")} and x == y)
            or (two in {("gen", "start"), ("gen", "end")} and x == to)
            or (two in {("start", "inv"), ("end", "inv")} and by == y)
            or (two == ("gen", "gen") and (y, x) in special)
            or (two == ("inv", "inv") and (x, y) in special)
            or (two in {("start", "inv"), ("start", "end")} and (x, y) in pairs["associate"])
            or (two in {("gen", "end"), ("start", "end")} and (y, x) in pairs["associate"])
            or (two in {("gen", "gen"), ("start", "gen")} and (y, x) in pairs["attribute"])
            or (
                two in {("gen", "inv"), ("start", "end")}
                and (x, y) in {(r, d) for d, r in pairs["delegate"]}
            )
        )
        strict[i, j] = two == ("gen", "gen") and (y, x) in derivations
    reach = weak | strict
    for k in range(n):
        reach |= np.outer(reach[:, k], reach[k])
    return not bool((strict & reach.T).any())


@settings(max_examples=150)
@given(untimed)
def test_the_order_verdict_equals_a_plain_chase(rows):
    codes = {v.code for v in check(build(rows)).violations}
    assert ("42" not in codes) == plain_order_verdict(rows)


# ---- histories that happened -----------------------------------------------------------------

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@st.composite
def histories(draw):
    """Play a random course of events; return what was written down and what derives from what."""
    clock = itertools.count()

    def now() -> datetime:
        return BEGIN + timedelta(seconds=next(clock))

    rows: list[Row] = [("agent", ("g",), None)]
    maker: dict[str, str | None] = {}
    live: list[str] = []
    pinned: set[str] = set()
    running: list[str] = []
    begun: dict[str, datetime] = {}
    derived: list[tuple[str, str]] = []
    started_by: list[tuple[str, str]] = []
    for step in range(draw(st.integers(3, 25))):
        deed = draw(st.sampled_from(["begin", "make", "make", "use", "finish", "drop", "say"]))
        if deed == "begin" or not running:
            name, moment = f"a{step}", now()
            trigger = draw(st.none() | st.sampled_from(live)) if live else None
            if trigger is not None:
                rows.append(("start", (name, trigger, maker[trigger], moment), None))
                started_by.append((name, trigger))
            running.append(name)
            begun[name] = moment
            rows.append(("associate", (name, "g", None), None))
        elif deed == "make":
            name, activity = f"e{step}", draw(st.sampled_from(running))
            rows += [("entity", (name,), None), ("gen", (name, activity, now()), None)]
            if live and draw(st.booleans()):
                source = draw(st.sampled_from(live))
                if draw(st.booleans()):
                    rows.append(("derive", (name, source), None))
                    derived.append((name, source))
                else:
                    rows.append(("special", (name, source), None))
                    pinned.add(source)
            maker[name] = activity
            live.append(name)
            rows.append(("attribute", (name, "g"), None))
        elif deed == "use" and live:
            activity = draw(st.sampled_from(running))
            rows.append(("use", (activity, draw(st.sampled_from(live)), now()), None))
        elif deed == "finish":
            name = running.pop(draw(st.integers(0, len(running) - 1)))
            rows.append(("activity", (name, begun.pop(name), now()), None))
        elif deed == "drop":
            free = [e for e in live if e not in pinned]
            if free:
                name = draw(st.sampled_from(free))
                live.remove(name)
                rows.append(("inv", (name, draw(st.sampled_from(running)), now()), None))
        elif deed == "say" and len(running) > 1:
            rows.append(("inform", (running[-1], running[0]), None))
    for name in running:
        rows.append(("activity", (name, begun[name], now()), None))
    return rows, derived, started_by, maker


@quick
@given(histories())
def test_what_happened_is_accepted_with_its_times(history):
    rows, *_ = history
    report = check(build(rows))
    assert report.violations == ()
    assert report.clock == ()


@quick
@given(histories())
def test_a_reversed_derivation_is_rejected(history):
    rows, derived, *_ = history
    for made, source in derived:
        report = check(build([*rows, ("derive", (source, made), None)]))
        assert "42" in {v.code for v in report.violations}


@quick
@given(histories())
def test_deriving_a_trigger_from_what_it_triggered_is_rejected(history):
    rows, _, started_by, maker = history
    for activity, trigger in started_by:
        for product in (e for e, by in maker.items() if by == activity):
            report = check(build([*rows, ("derive", (trigger, product), None)]))
            orders = [v for v in report.violations if v.code == "42"]
            assert len(orders) == 1
            assert 42 in orders[0].constraints


@quick
@given(histories(), st.data())
def test_swapping_two_ordered_times_is_seen_by_the_clock_alone(history, data):
    rows, *_ = history
    spans = [i for i, (k, args, _) in enumerate(rows) if k == "activity"]
    i = data.draw(st.sampled_from(spans)) if spans else None
    if i is None:
        return
    kind, (name, begin, end), _ = rows[i]
    started = {args[0] for k, args, _ in rows if k == "start"}
    if name in started:
        return  # the start statement repeats the time, so 28 would object
    swapped = [*rows[:i], (kind, (name, end, begin), None), *rows[i + 1 :]]
    report = check(build(swapped))
    assert report.valid
    assert report.clock


@quick
@given(wild)
def test_every_finding_says_something(rows):
    report = check(build(rows))
    for v in (*report.violations, *report.clock):
        assert v.message
        assert v.witness
        assert v.statements
        assert v.name
    assert len(set(report.violations)) == len(report.violations)
