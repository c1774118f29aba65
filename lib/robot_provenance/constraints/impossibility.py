"""Typing (50) and what may not be (51 to 56)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import networkx as nx

from lib.robot_provenance.constraints.normalise import KEYED, SHAPES, Instance, Statement

OBJECTS: Final = ("entity", "activity", "agent")
# 53 leaves out derivation and influence, which may share an identifier with another relation.
DISJOINT: Final = frozenset(KEYED) - {"activity", "wasDerivedFrom", "wasInfluencedBy"}


def _inherited(instance: Instance, start: Iterable[Statement]) -> dict[int, tuple[Statement, ...]]:
    """Spread an entity statement to all specialisations: inference 21 with 19."""
    find = instance.terms.find
    # General -> (specific, statement), on representatives.
    below: dict[int, list[tuple[int, Statement]]] = defaultdict(list)
    for s in instance.by_kind["specializationOf"]:
        below[find(s.args[1])].append((find(s.args[0]), s))
    reached: dict[int, tuple[Statement, ...]] = {}
    queue = []
    for s in start:
        if find(s.ident) not in reached:
            reached[find(s.ident)] = (s,)
            queue.append(find(s.ident))
    for general in queue:
        for specific, s in below.get(general, ()):
            if specific not in reached:
                reached[specific] = (*reached[general], s)
                queue.append(specific)
    return reached


def declared_entities(instance: Instance) -> dict[int, tuple[Statement, ...]]:
    """Return the entities with an entity statement, asserted or inferred by 21, with the reason.

    Constraint 50 gives an identifier the type entity wherever a relation uses it as one, but only a
    statement ``entity(e)`` gives it a generation and an invalidation (inference 7).
    """
    return _inherited(instance, instance.by_kind["entity"])


def _types(instance: Instance) -> dict[int, dict[str, Statement]]:
    find = instance.terms.find
    none = instance.terms.none
    types: dict[int, dict[str, Statement]] = defaultdict(dict)
    for kind in OBJECTS:
        for s in instance.by_kind[kind]:
            types[find(s.ident)].setdefault(kind, s)
    for kind, shape in SHAPES.items():
        roles = [(i, role) for i, (_, role, _) in enumerate(shape) if role in OBJECTS]
        for s in instance.by_kind[kind]:
            for i, role in roles:
                if s.args[i] != none:
                    types[find(s.args[i])].setdefault(role, s)
    return types


def _reflexive(instance: Instance) -> None:
    """52 with 19: a cycle of specialisations makes every member its own specialisation."""
    find, show = instance.terms.find, instance.terms.show
    graph = nx.MultiDiGraph()
    for s in instance.by_kind["specializationOf"]:
        graph.add_edge(find(s.args[0]), find(s.args[1]), s=s)
    for part in nx.strongly_connected_components(graph):
        # A single node is a cycle only if it is its own specialisation.
        involved = [s for *_, s in graph.subgraph(part).edges(data="s")]
        if involved:
            members = sorted({show(s.args[0]) for s in involved})
            message = f"{', '.join(members)}: specialised by itself"
            numbers = (19,) if len(members) > 1 else ()
            texts = [s.text for s in involved]
            instance.report(52, involved, texts, message, constraints=numbers)


def check_impossible(instance: Instance) -> None:
    """Report violations of 50 to 56 in a merged instance."""
    terms = instance.terms
    find, show, none = terms.find, terms.show, terms.none

    for s in instance.by_kind["wasDerivedFrom"]:
        activity, generation, usage = s.args[2:]
        if find(activity) == none and (find(generation) != none or find(usage) != none):
            message = f"{s.text} names a generation or a usage, but no activity"
            instance.report(51, (s,), (s.text,), message)

    _reflexive(instance)

    relations: dict[int, dict[str, Statement]] = defaultdict(dict)
    for kind in KEYED[1:]:
        for s in instance.by_kind[kind]:
            if terms.value(s.ident) is not None:
                relations[find(s.ident)].setdefault(kind, s)
    for ident, kinds in relations.items():
        clash = [kinds[k] for k in kinds if k in DISJOINT]
        if len(clash) > 1:
            words = " and ".join(s.kind for s in clash)
            message = f"{show(ident)} identifies {words}"
            instance.report(53, clash, [s.text for s in clash], message)
    for kind in OBJECTS:
        for s in instance.by_kind[kind]:
            for other in relations.get(find(s.ident), {}).values():
                message = f"{show(s.ident)} is the identifier of an {kind} and of {other.kind}"
                instance.report(54, (s, other), (s.text, other.text), message)

    for term, found in _types(instance).items():
        if "entity" in found and "activity" in found:
            clash = [found["entity"], found["activity"]]
            steps = [f"{found[k].text} makes {show(term)} an {k}" for k in ("entity", "activity")]
            message = f"{show(term)} is an entity and an activity"
            numbers = () if {s.kind for s in clash} == {"entity", "activity"} else (50,)
            instance.report(55, clash, steps, message, constraints=numbers)

    empty = _inherited(instance, instance.empty_collections)
    for s in instance.by_kind["hadMember"]:
        reason = empty.get(find(s.args[0]))
        if reason is not None:
            message = f"{show(s.args[0])} is an empty collection and has member {show(s.args[1])}"
            steps = [*(r.text for r in reason), s.text]
            instance.report(56, (*reason, s), steps, message, constraints=(50,))
