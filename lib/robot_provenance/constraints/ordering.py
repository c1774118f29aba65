"""Event ordering (30 to 49): events as nodes, "precedes" as edges, a strict cycle as violation.

All generations of one entity are simultaneous (39), and likewise its invalidations (40) and the
starts (31) and ends (32) of one activity: each such class is one node, so the graph stays linear in
the number of statements. An order of the events exists if and only if no strongly connected
component holds a strict edge (the theorem on the theory page). Which statements order what stands
in ``rules.yml``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

import networkx as nx

from lib.robot_provenance.constraints.impossibility import declared_entities
from lib.robot_provenance.constraints.normalise import Instance, Statement
from lib.robot_provenance.constraints.report import NAMES, RULES, Violation

EFFORT: Final = 50
"""Strict edges of a component through which a shortest cycle is sought."""
SIMULTANEOUS: Final = {"start": 31, "end": 32, "generation": 39, "invalidation": 40}


class Edge(NamedTuple):
    """Event `source` precedes event `target`, by a constraint and for a reason."""

    source: int
    target: int
    number: int
    strict: bool = False
    why: tuple[Statement, ...] = ()


Timed = tuple[datetime, Statement, int]
"""A recorded time, what says it, and the node that has it."""


class Events:
    """The event graph of a merged instance.

    Attributes
    ----------
    nodes : list of (str, int)
        Kind of event and the term it belongs to (an entity, an activity, or a usage's identifier).
    edges : list of Edge
        Only constraint 42 makes strict ones.
    times : list of (datetime, Statement, int)
        The recorded times of nodes.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.nodes: list[tuple[str, int]] = []
        self.edges: list[Edge] = []
        self.times: list[Timed] = []
        self._index: dict[tuple[str, int], int] = {}
        # Events that exist; a node may also stand for no event and only pass on 45 and 46.
        self._exists: dict[int, tuple[Statement, ...]] = {}
        for term, why in declared_entities(instance).items():  # inference 7
            for kind in ("generation", "invalidation"):
                self._exists.setdefault(self._node(kind, term), why)
        for statement, told in RULES["events"].items():
            for s in instance.by_kind[statement]:
                for kind, of, at in told:
                    node = self._node(kind, s.ident if of < 0 else s.args[of])
                    self._exists.setdefault(node, (s,))
                    moment = instance.terms.value(s.args[at])
                    if isinstance(moment, datetime):
                        self.times.append((moment, s, node))
        self._order()

    def _node(self, kind: str, term: int) -> int:
        key = (kind, self.instance.terms.find(term))
        if key not in self._index:
            self._index[key] = len(self.nodes)
            self.nodes.append(key)
        return self._index[key]

    def _get(self, kind: str, term: int) -> int | None:
        node = self._index.get((kind, self.instance.terms.find(term)))
        return node if node in self._exists else None

    def _order(self) -> None:
        for node, (kind, term) in enumerate(self.nodes):
            for first, then, number in (("start", "end", 30), ("generation", "invalidation", 36)):
                after = self._get(then, term) if kind == first else None
                if after is not None:
                    self.edges.append(Edge(node, after, number))
        for kind, rules in RULES["order"].items():
            # 19 in passing: a middle entity without events still hands the order on.
            get = self._node if kind == "specializationOf" else self._get
            for s in self.instance.by_kind[kind]:
                for number, first, i, then, j, *strict in rules:
                    a, b = (
                        get(event, s.ident if at < 0 else s.args[at])
                        for event, at in ((first, i), (then, j))
                    )
                    if a is not None and b is not None:
                        self.edges.append(Edge(a, b, number, bool(strict), (s,)))

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def graph(self) -> nx.DiGraph:
        """Nodes by number; of several edges between two, a strict one if there is one."""
        found = nx.DiGraph()
        found.add_nodes_from(range(len(self.nodes)))
        for edge in sorted(self.edges, key=lambda one: one.strict):
            found.add_edge(edge.source, edge.target, edge=edge)
        return found

    def path(self, nodes: Iterable[int]) -> list[Edge]:
        """Return the edges of a path given by its nodes."""
        return [self.graph.edges[pair]["edge"] for pair in pairwise(nodes)]

    def show(self, node: int) -> str:
        """Return a node for a reader."""
        kind, term = self.nodes[node]
        terms = self.instance.terms
        if kind != "usage":
            return f"{kind} of {terms.show(term)}"
        use = self._exists[node][0]
        named = f" {terms.show(term)}" if terms.value(term) is not None else ""
        return f"usage{named} of {terms.show(use.args[1])} by {terms.show(use.args[0])}"

    def step(self, edge: Edge) -> str:
        """Return an edge for a reader: the two events, the constraint, the statements."""
        word = "strictly precedes" if edge.strict else "precedes"
        why = "; ".join(s.text for s in self._why(edge))
        return f"{self.show(edge.source)} {word} {self.show(edge.target)} [{edge.number}: {why}]"

    def _why(self, edge: Edge) -> tuple[Statement, ...]:
        ends = (self._exists.get(edge.source, ()), self._exists.get(edge.target, ()))
        return edge.why or ends[0] or ends[1]

    def statements(self, edges: list[Edge]) -> Iterator[Statement]:
        """Yield the statements behind some edges: their reasons and why the events exist."""
        for edge in edges:
            yield from self._why(edge)
            yield from self._exists.get(edge.source, ())


def check_order(events: Events) -> None:
    """Report each strongly connected component of events that holds a strict edge.

    The violation carries number 42, the only constraint that orders strictly; `constraints` lists
    all that the witness, a shortest cycle through a strict edge, uses. In a component with more
    strict edges than `EFFORT`, the shortest of those tried is given.
    """
    graph = events.graph
    part = {
        node: i for i, one in enumerate(nx.strongly_connected_components(graph)) for node in one
    }
    inside: dict[int, list[Edge]] = defaultdict(list)
    for edge in events.edges:
        if edge.strict and part[edge.source] == part[edge.target]:
            inside[part[edge.source]].append(edge)
    for strict in inside.values():
        paths = [nx.shortest_path(graph, one.target, one.source) for one in strict[:EFFORT]]
        _, first = min((len(path), i) for i, path in enumerate(paths))
        cycle = [strict[first], *events.path(paths[first])]
        start = events.show(cycle[0].source)
        message = f"no order of the events: {start} would strictly precede itself"
        witness, numbers = [events.step(one) for one in cycle], [one.number for one in cycle]
        events.instance.report(42, events.statements(cycle), witness, message, constraints=numbers)


def check_clock(events: Events) -> tuple[Violation, ...]:
    """Compare recorded times with the order: ``T1``, ours, not part of PROV-CONSTRAINTS.

    Along every path of "precedes" the times must not fall; simultaneous events must carry one time.
    Equal times along a strict step pass, for clocks are coarse. Naive and aware times are never
    compared. After a finding the later event's own time counts, so one wrong time gives few
    findings, and there is a finding if and only if some pair of ordered events contradicts its
    times.
    """
    if not events.times:
        return ()
    parts = nx.condensation(events.graph)
    order, of = list(nx.topological_sort(parts)), parts.graph["mapping"]
    found = []
    for aware in (False, True):
        own: dict[int, list[Timed]] = defaultdict(list)
        for one in events.times:
            if (one[0].tzinfo is not None) == aware:
                own[of[one[2]]].append(one)
        latest: dict[int, Timed] = {}
        for part in order if own else ():
            told = [latest[one] for one in parts.predecessors(part) if one in latest]
            before = max(told, key=lambda one: one[0], default=None)
            if part in own:
                low, high = (pick(own[part], key=lambda one: one[0]) for pick in (min, max))
                if before is not None and before[0] > low[0]:
                    found.append(_contradiction(events, before, low, "precede"))
                elif low[0] < high[0]:
                    found.append(_contradiction(events, low, high, "be simultaneous with"))
                if before is None or before[0] > low[0] or high[0] >= before[0]:
                    before = high
            if before is not None:
                latest[part] = before
    return tuple(sorted(found, key=lambda one: one.message))


def _contradiction(events: Events, first: Timed, then: Timed, word: str) -> Violation:
    """Say that two events must follow each other, or be simultaneous, and their times do not."""
    path = events.path(nx.shortest_path(events.graph, first[2], then[2]))
    numbers = {edge.number for edge in path}
    witness = [events.step(edge) for edge in path]
    if not path:
        numbers = {SIMULTANEOUS[kind] for kind, _ in [events.nodes[first[2]]] if kind != "usage"}
        witness = [f"{number}: {NAMES[number]}" for number in numbers]
    texts = dict.fromkeys(s.text for s in (first[1], then[1], *events.statements(path)))
    message = (
        f"{events.show(first[2])} at {first[0].isoformat()} must {word} "
        f"{events.show(then[2])} at {then[0].isoformat()}"
    )
    told = tuple(texts), tuple(witness or texts), message, tuple(sorted(numbers))
    return Violation("T1", "times-contradict-order", *told, events.instance.bundle)
