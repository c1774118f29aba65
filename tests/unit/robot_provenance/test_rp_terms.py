"""What the engine of constraints does with terms, statements and times, case by case."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from prov.model import ProvDocument

from lib.robot_provenance.constraints import check
from lib.robot_provenance.constraints.impossibility import DISJOINT, declared_entities
from lib.robot_provenance.constraints.normalise import SHAPES, UNIQUE, Instance, Terms, read
from lib.robot_provenance.constraints.ordering import Events
from lib.robot_provenance.constraints.report import Violation


def parse(body: str) -> ProvDocument:
    text = f"document prefix ex <http://example.org/> {body} endDocument"
    return ProvDocument.deserialize(content=text, format="provn")


T1, T2, T3 = (f"2026-01-01T1{hour}:00:00Z" for hour in (0, 1, 2))


def kinds(body: str) -> dict[str, int]:
    found = read(parse(body)).by_kind
    return {kind: len(some) for kind, some in found.items() if some}


def test_terms() -> None:
    terms = Terms()
    assert (terms.none, terms.show(terms.none), terms.merged) == (0, "-", 0)
    a, b, x, y = terms.constant("a"), terms.constant("b"), terms.variable(), terms.variable()
    assert (a, b, x, y) == (1, 2, 3, 4)
    assert terms.constant("a") == a
    assert terms.constant("u:c", "c") == 5
    assert terms.show(5) == "c"
    assert (terms.show(x), terms.value(x), terms.value(a)) == ("(unknown)", None, "a")
    assert terms.unify(x, y) is True
    assert terms.merged == 1
    assert terms.unify(y, x) is True
    assert terms.merged == 1
    assert terms.unify(y, a) is True
    assert terms.merged == 2
    assert (terms.show(x), terms.find(x) == terms.find(a)) == ("a", True)
    assert terms.unify(x, b) is False
    assert terms.merged == 2
    assert terms.find(b) == b
    moment = terms.constant(datetime(2026, 1, 1, tzinfo=UTC))
    assert terms.show(moment) == "2026-01-01T00:00:00+00:00"


def test_shapes_are_those_of_prov_n() -> None:
    assert SHAPES["used"] == (
        *(("activity", "activity", "!"), ("entity", "entity", "?"), ("time", "time", "?")),
    )
    assert SHAPES["wasDerivedFrom"][2:] == (
        *(("activity", "activity", "-"), ("generation", "event", "/"), ("usage", "event", "/")),
    )
    assert SHAPES["entity"] == ()
    assert UNIQUE == (
        ("wasGeneratedBy", (0, 1), 24),
        ("wasInvalidatedBy", (0, 1), 25),
        ("wasStartedBy", (0, 2), 26),
        ("wasEndedBy", (0, 2), 27),
    )
    assert len(DISJOINT) == 9
    assert not DISJOINT & {"activity", "wasDerivedFrom", "wasInfluencedBy"}


def test_a_violation_is_told_once() -> None:
    instance = Instance("ex:b")
    for message in ("one", "two", "one"):
        instance.report(22, ["s"], ["w"], message, constraints=(30, 19))
    instance.report("X1", ["s"], [], "three", name="mine", key="k")
    instance.report("X1", ["s"], [], "four", name="mine", key="k")
    assert instance.violations == [
        Violation("22", "key-object", ("s",), ("w",), "one", (19, 22, 30), "ex:b"),
        Violation("22", "key-object", ("s",), ("w",), "two", (19, 22, 30), "ex:b"),
        Violation("X1", "mine", ("s",), (), "three", (), "ex:b"),
    ]
    assert [one.constraint for one in instance.violations] == [22, 22, 0]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        # 9 and 10: a trigger or a starter is enough; a time alone tells of no generation.
        ("wasStartedBy(ex:a,ex:e,-,-)", {"wasStartedBy": 1, "wasGeneratedBy": 1}),
        ("wasStartedBy(ex:a,-,ex:b,-)", {"wasStartedBy": 1, "wasGeneratedBy": 1}),
        (f"wasStartedBy(ex:a,-,-,{T1})", {"wasStartedBy": 1}),
        ("wasEndedBy(ex:a,ex:e,-,-)", {"wasEndedBy": 1, "wasGeneratedBy": 1}),
        ("wasEndedBy(ex:a,-,ex:b,-)", {"wasEndedBy": 1, "wasGeneratedBy": 1}),
        (f"wasEndedBy(ex:a,-,-,{T1})", {"wasEndedBy": 1}),
        # 11: only of a derivation that names its activity
        ("wasDerivedFrom(ex:f,ex:e)", {"wasDerivedFrom": 1}),
        (
            "wasDerivedFrom(ex:d;ex:f,ex:e,ex:a,-,-)",
            {"wasDerivedFrom": 1, "used": 1, "wasGeneratedBy": 1},
        ),
        # 13 and 14
        ("wasAttributedTo(ex:e,ex:g)", {"wasAttributedTo": 1, "wasGeneratedBy": 1}),
        ("actedOnBehalfOf(ex:d,ex:r,ex:a)", {"actedOnBehalfOf": 1, "wasAssociatedWith": 2}),
        ("mentionOf(ex:e,ex:f,ex:b)", {"mentionOf": 1, "specializationOf": 1}),
    ],
)
def test_what_is_inferred(body: str, found: dict[str, int]) -> None:
    assert kinds(body) == found


def test_ends_of_what_is_inferred() -> None:
    def ends(body: str, kind: str, n: int) -> list[tuple[str, ...]]:
        instance = read(parse(body))
        return [tuple(map(instance.terms.show, s.args[:n])) for s in instance.by_kind[kind]]

    derived = "wasDerivedFrom(ex:d;ex:f,ex:e,ex:a,-,-)"
    assert ends(derived, "used", 2) == [("ex:a", "ex:e")]
    assert ends(derived, "wasGeneratedBy", 2) == [("ex:f", "ex:a")]
    assert ends("wasStartedBy(ex:a,ex:e,ex:b,-)", "wasGeneratedBy", 2) == [("ex:e", "ex:b")]
    assert ends("wasEndedBy(ex:a,ex:e,ex:b,-)", "wasGeneratedBy", 2) == [("ex:e", "ex:b")]
    assert ends("wasAttributedTo(ex:e,ex:g)", "wasGeneratedBy", 2) == [("ex:e", "(unknown)")]
    assert ends("actedOnBehalfOf(ex:d,ex:r,ex:a)", "wasAssociatedWith", 2) == [
        *(("ex:a", "ex:d"), ("ex:a", "ex:r"))
    ]
    assert ends("mentionOf(ex:e,ex:f,ex:b)", "specializationOf", 2) == [("ex:e", "ex:f")]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (
            "used(ex:u;ex:a,ex:e,-) used(ex:u;ex:b,ex:f,-)",
            "23",
            "two used statements with identifier ex:u disagree on prov:activity: ex:a and ex:b",
        ),
        (
            f"activity(ex:a,{T1},-) activity(ex:a,{T2},-)",
            "22",
            "two activity statements with identifier ex:a disagree on prov:startTime: "
            "2026-01-01T10:00:00+00:00 and 2026-01-01T11:00:00+00:00",
        ),
        (
            f"wasGeneratedBy(ex:e,ex:a,{T1}) wasGeneratedBy(ex:e,ex:a,{T2})",
            "23",
            "two wasGeneratedBy statements that must be one disagree on prov:time: "
            "2026-01-01T10:00:00+00:00 and 2026-01-01T11:00:00+00:00",
        ),
        (
            "wasGeneratedBy(ex:x;ex:e,ex:a,-) wasGeneratedBy(ex:y;ex:e,ex:a,-)",
            "24",
            "wasGeneratedBy of ex:e and ex:a is one event but has two identifiers: ex:x and ex:y",
        ),
        (
            f"activity(ex:a,{T1},-) wasStartedBy(ex:a,-,-,{T2})",
            "28",
            "startTime of ex:a and the time of its wasStartedBy disagree: "
            "2026-01-01T10:00:00+00:00 and 2026-01-01T11:00:00+00:00",
        ),
        (
            f"activity(ex:a,-,{T1}) wasEndedBy(ex:a,-,-,{T2})",
            "29",
            "endTime of ex:a and the time of its wasEndedBy disagree: "
            "2026-01-01T10:00:00+00:00 and 2026-01-01T11:00:00+00:00",
        ),
        (
            "wasDerivedFrom(ex:d;ex:f,ex:e,-,-,-) wasInfluencedBy(ex:d;ex:f,ex:h)",
            "23",
            "wasInfluencedBy and wasDerivedFrom share identifier ex:d but not the influencer: "
            "ex:e and ex:h",
        ),
        (
            "used(ex:d;ex:a,ex:e,-) wasInfluencedBy(ex:d;ex:b,ex:e)",
            "23",
            "wasInfluencedBy and used share identifier ex:d but not the influencee: ex:a and ex:b",
        ),
        (
            "mentionOf(ex:e,ex:f,ex:b) mentionOf(ex:e,ex:f,ex:c)",
            "L1",
            "ex:e mentions two things with a different bundle: ex:b and ex:c",
        ),
        (
            "mentionOf(ex:e,ex:f,ex:b) mentionOf(ex:e,ex:h,ex:b)",
            "L1",
            "ex:e mentions two things with a different general entity: ex:f and ex:h",
        ),
        (
            "used(ex:x;ex:a,ex:e,-) wasGeneratedBy(ex:x;ex:e,ex:a,-)",
            "53",
            "ex:x identifies wasGeneratedBy and used",
        ),
        (
            "used(ex:x;ex:a,ex:e,-) agent(ex:x)",
            "54",
            "ex:x is the identifier of an agent and of used",
        ),
        ("entity(ex:e) activity(ex:e,-,-)", "55", "ex:e is an entity and an activity"),
        (
            "entity(ex:c,[prov:type='prov:EmptyCollection']) hadMember(ex:c,ex:e)",
            "56",
            "ex:c is an empty collection and has member ex:e",
        ),
        ("specializationOf(ex:e,ex:e)", "52", "ex:e: specialised by itself"),
        (
            "specializationOf(ex:e,ex:f) specializationOf(ex:f,ex:e)",
            "52",
            "ex:e, ex:f: specialised by itself",
        ),
        (
            "wasDerivedFrom(ex:e,ex:f,-,ex:g,-)",
            "51",
            "wasDerivedFrom(ex:e, ex:f, -, ex:g, -) names a generation or a usage, but no activity",
        ),
        (
            "entity(ex:e) wasDerivedFrom(ex:e,ex:e)",
            "42",
            "no order of the events: generation of ex:e would strictly precede itself",
        ),
    ],
)
def test_what_a_violation_says(body: str, code: str, message: str) -> None:
    (one,) = check(parse(body)).violations
    assert (one.code, one.message) == (code, message)


def test_influences_that_do_not_clash() -> None:
    for body in (
        "used(ex:d;ex:a,ex:e,-) wasInfluencedBy(ex:d;ex:a,ex:e)",
        "wasInfluencedBy(ex:d;ex:a,ex:e) wasInfluencedBy(ex:c;ex:a,ex:f)",
        "used(ex:u;ex:a,ex:e,-) wasInfluencedBy(ex:a,ex:f) wasDerivedFrom(ex:g,ex:h)",
    ):
        assert not check(parse(body)).counts()
    # The last of the kinds with keys, and the first behind activities.
    made = "wasGeneratedBy(ex:d;ex:e,ex:a,-) wasInfluencedBy(ex:d;ex:f,ex:a)"
    assert check(parse(made)).counts() == {"23": 1}
    told = "actedOnBehalfOf(ex:d;ex:g,ex:h,-) wasInfluencedBy(ex:d;ex:f,ex:h)"
    assert check(parse(told)).counts() == {"23": 1}


def test_statements_are_told_in_prov_n() -> None:
    told = [s.text for s in read(parse(f"used(ex:u;ex:a,ex:e,{T1}) entity(ex:e)")).statements]
    assert told == ["entity(ex:e)", "used(ex:u; ex:a, ex:e, 2026-01-01T10:00:00+00:00)"]
    (one,) = read(parse("used(ex:a,-,-)")).statements
    assert (one.text, one.kind) == ("used(ex:a, -, -)", "used")
    assert [s.text for s in read(parse(f"activity(ex:a,-,{T1})")).statements] == [
        "activity(ex:a, -, 2026-01-01T10:00:00+00:00)"
    ]


def test_declared_entities_and_why() -> None:
    body = "entity(ex:e) specializationOf(ex:f,ex:e) specializationOf(ex:g,ex:f) "
    instance = read(parse(body + "specializationOf(ex:f,ex:x) used(ex:a,ex:y,-)"))
    found = {
        instance.terms.show(term): [s.text for s in why]
        for term, why in declared_entities(instance).items()
    }
    first, second = "specializationOf(ex:f, ex:e)", "specializationOf(ex:g, ex:f)"
    assert found == {
        "ex:e": ["entity(ex:e)"],
        "ex:f": ["entity(ex:e)", first],
        "ex:g": ["entity(ex:e)", first, second],
    }


def test_the_shortest_cycle_is_the_witness() -> None:
    ring = "entity(ex:{0}) entity(ex:{1}) wasDerivedFrom(ex:{1},ex:{0}) "
    steps = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("c", "b")]
    body = "".join(ring.format(*one) for one in steps)
    (one,) = check(parse(body)).violations
    assert len(one.witness) == 2
    assert one.constraints == (42,)


@pytest.mark.parametrize(
    ("times", "n"),
    [((T1, T2, T3), 0), ((T1, T1, T1), 0), ((T2, T1, T3), 1), ((T1, T3, T2), 1), ((T3, T2, T1), 2)],
)
def test_times_along_a_chain(times: tuple[str, str, str], n: int) -> None:
    body = "".join(f"wasGeneratedBy(ex:{e},-,{t}) " for e, t in zip("abc", times, strict=True))
    body += "wasDerivedFrom(ex:b,ex:a) wasDerivedFrom(ex:c,ex:b)"
    found = check(parse(body)).clock
    assert len(found) == n
    for one in found:
        assert one.constraints == (42,)
        assert len(one.witness) == 1
        assert len(one.statements) == 3


def test_simultaneous_events_have_one_time() -> None:
    made = f"wasGeneratedBy(ex:e,ex:a,{T1}) wasGeneratedBy(ex:e,ex:b,{{}})"
    assert check(parse(made.format(T1))).clock == ()
    (one,) = check(parse(made.format(T2))).clock
    assert one.message == (
        "generation of ex:e at 2026-01-01T10:00:00+00:00 must be simultaneous with "
        "generation of ex:e at 2026-01-01T11:00:00+00:00"
    )
    assert one.witness == ("39: generation-generation-ordering",)
    assert one.constraints == (39,)
    assert (one.code, one.name) == ("T1", "times-contradict-order")


def test_two_times_of_one_event_and_what_came_before() -> None:
    """A later event with one wrong time is a finding about that time, and the last one counts."""
    body = f"wasGeneratedBy(ex:a,-,{T2}) wasDerivedFrom(ex:b,ex:a) wasDerivedFrom(ex:c,ex:b) "
    body += f"wasGeneratedBy(ex:b,ex:x,{T1}) wasGeneratedBy(ex:b,ex:y,{T3}) "
    body += f"wasGeneratedBy(ex:c,-,{T2})"
    found = check(parse(body)).clock
    assert [one.message for one in found] == [
        "generation of ex:a at 2026-01-01T11:00:00+00:00 must precede "
        "generation of ex:b at 2026-01-01T10:00:00+00:00",
        "generation of ex:b at 2026-01-01T12:00:00+00:00 must precede "
        "generation of ex:c at 2026-01-01T11:00:00+00:00",
    ]


def test_times_without_a_zone_are_compared_among_themselves() -> None:
    naive = [one.removesuffix("Z") for one in (T1, T2)]
    body = "wasGeneratedBy(ex:a,-,{1}) wasGeneratedBy(ex:b,-,{0}) wasDerivedFrom(ex:b,ex:a)"
    assert len(check(parse(body.format(*naive))).clock) == 1
    assert check(parse(body.format(*naive[::-1]))).clock == ()


def test_events_are_told_by_their_owners() -> None:
    events = Events(read(parse("used(ex:u;ex:a,ex:e,-) used(ex:a,ex:f,-) activity(ex:a,-,-)")))
    assert len(events) == len(events.nodes) == 4
    assert sorted(events.show(i) for i in range(4)) == [
        *("end of ex:a", "start of ex:a", "usage ex:u of ex:e by ex:a", "usage of ex:f by ex:a")
    ]
    (first, *_) = [one for one in events.edges if one.number == 30]
    assert events.step(first) == ("start of ex:a precedes end of ex:a [30: activity(ex:a, -, -)]")
