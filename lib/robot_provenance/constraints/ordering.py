"""Event ordering (30 to 49): events as nodes, "precedes" as edges, a strict cycle as violation.

All generations of one entity are simultaneous (39), and likewise its invalidations (40) and the
starts (31) and ends (32) of one activity: each such class is one node, so the graph stays linear in
the number of statements. An order of the events exists if and only if no strongly connected
component holds a strict edge (the theorem on the theory page).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lib.robot_provenance.constraints.impossibility import declared_entities
from lib.robot_provenance.constraints.normalise import Instance, Statement
from lib.robot_provenance.constraints.report import NAMES, Violation

__all__ = ["Events", "check_clock", "check_order"]

EFFORT: Final = 50
SIMULTANEOUS: Final = {"start": 31, "end": 32, "generation": 39, "invalidation": 40}


class Events:
    """The event graph of a merged instance.

    Attributes
    ----------
    nodes : list of (str, int)
        Kind of event and the term it belongs to (an entity, an activity, or a usage's identifier).
    source, target : list of int
        Ends of the edges: `source` precedes `target`.
    strict : list of bool
        Whether the edge is strict. Only constraint 42 makes strict edges.
    number : list of int
        The constraint that made the edge.
    reason : list of tuple of Statement
        The asserted or inferred statements that made it.
    times : dict of int to list of (datetime, Statement)
        The recorded times of a node.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.nodes: list[tuple[str, int]] = []
        self.source: list[int] = []
        self.target: list[int] = []
        self.strict: list[bool] = []
        self.number: list[int] = []
        self.reason: list[tuple[Statement, ...]] = []
        self.times: dict[int, list[tuple[datetime, Statement]]] = defaultdict(list)
        self._index: dict[tuple[str, int], int] = {}
        # Events that exist; a node may also stand for no event and only pass on 45 and 46.
        self._exists: dict[int, tuple[Statement, ...]] = {}
        self._events()
        self._edges()

    def _node(self, kind: str, term: int) -> int:
        key = (kind, self.instance.terms.find(term))
        node = self._index.get(key)
        if node is None:
            node = self._index[key] = len(self.nodes)
            self.nodes.append(key)
        return node

    def _get(self, kind: str, term: int) -> int | None:
        node = self._index.get((kind, self.instance.terms.find(term)))
        return node if node in self._exists else None

    def _exist(self, kind: str, term: int, why: tuple[Statement, ...]) -> int:
        node = self._node(kind, term)
        self._exists.setdefault(node, why)
        return node

    def _time(self, node: int, term: int, statement: Statement) -> None:
        value = self.instance.terms.value(term)
        if isinstance(value, datetime):
            self.times[node].append((value, statement))

    def _events(self) -> None:
        kinds = self.instance.by_kind
        for kind, event in (("wasGeneratedBy", "generation"), ("wasInvalidatedBy", "invalidation")):
            for s in kinds[kind]:
                self._time(self._exist(event, s.args[0], (s,)), s.args[2], s)
        for kind, event in (("wasStartedBy", "start"), ("wasEndedBy", "end")):
            for s in kinds[kind]:
                self._time(self._exist(event, s.args[0], (s,)), s.args[3], s)
        for s in kinds["used"]:
            self._time(self._exist("usage", s.ident, (s,)), s.args[2], s)
        for term, why in declared_entities(self.instance).items():  # inference 7
            self._exist("generation", term, why)
            self._exist("invalidation", term, why)
        for s in kinds["activity"]:  # inference 8
            self._time(self._exist("start", s.ident, (s,)), s.args[0], s)
            self._time(self._exist("end", s.ident, (s,)), s.args[1], s)

    def _edge(
        self,
        number: int,
        before: int | None,
        after: int | None,
        *why: Statement,
        strict: bool = False,
    ) -> None:
        if before is None or after is None:
            return
        self.source.append(before)
        self.target.append(after)
        self.strict.append(strict)
        self.number.append(number)
        self.reason.append(why)

    def _edges(self) -> None:
        instance, get, edge = self.instance, self._get, self._edge
        kinds, terms = instance.by_kind, instance.terms

        for node, (kind, term) in enumerate(self.nodes):
            if kind == "start":
                edge(30, node, get("end", term))
            elif kind == "generation":
                edge(36, node, get("invalidation", term))
        for s in kinds["used"]:
            use = get("usage", s.ident)
            edge(33, get("start", s.args[0]), use, s)
            edge(33, use, get("end", s.args[0]), s)
            edge(37, get("generation", s.args[1]), use, s)
            edge(38, use, get("invalidation", s.args[1]), s)
        for s in kinds["wasGeneratedBy"]:
            made = get("generation", s.args[0])
            edge(34, get("start", s.args[1]), made, s)
            edge(34, made, get("end", s.args[1]), s)
        for s in kinds["wasInformedBy"]:
            edge(35, get("start", s.args[1]), get("end", s.args[0]), s)
        for s in kinds["wasDerivedFrom"]:
            made, source, activity, generation, usage = s.args
            if terms.none not in (terms.find(activity), terms.find(generation), terms.find(usage)):
                # Inference 11 made `generation` a generation of `made`.
                edge(41, get("usage", usage), get("generation", made), s)
            edge(42, get("generation", source), get("generation", made), s, strict=True)
        for kind, event, number in (("wasStartedBy", "start", 43), ("wasEndedBy", "end", 44)):
            for s in kinds[kind]:
                edge(number, get("generation", s.args[1]), get(event, s.args[0]), s)
                edge(number, get(event, s.args[0]), get("invalidation", s.args[1]), s)
        for s in kinds["specializationOf"]:
            specific, general = s.args[:2]
            # 19 in passing: a middle entity without events still hands the order on.
            edge(45, self._node("generation", general), self._node("generation", specific), s)
            edge(46, self._node("invalidation", specific), self._node("invalidation", general), s)
        for s in kinds["wasAssociatedWith"]:
            activity, agent = s.args[:2]
            edge(47, get("start", activity), get("invalidation", agent), s)
            edge(47, get("generation", agent), get("end", activity), s)
            edge(47, get("start", activity), get("end", agent), s)
            edge(47, get("start", agent), get("end", activity), s)
        for s in kinds["wasAttributedTo"]:
            made, agent = get("generation", s.args[0]), s.args[1]
            edge(48, get("generation", agent), made, s)
            edge(48, get("start", agent), made, s)
        for s in kinds["actedOnBehalfOf"]:
            delegate, responsible = s.args[:2]
            edge(49, get("generation", responsible), get("invalidation", delegate), s)
            edge(49, get("start", responsible), get("end", delegate), s)

    def __len__(self) -> int:
        return len(self.nodes)

    def show(self, node: int) -> str:
        """Return a node for a reader."""
        kind, term = self.nodes[node]
        terms = self.instance.terms
        if kind != "usage":
            return f"{kind} of {terms.show(term)}"
        use = self._exists[node][0]
        named = f" {terms.show(term)}" if terms.value(term) is not None else ""
        return f"usage{named} of {terms.show(use.args[1])} by {terms.show(use.args[0])}"

    def step(self, edge: int) -> str:
        """Return an edge for a reader: the two events, the constraint, the statements."""
        word = "strictly precedes" if self.strict[edge] else "precedes"
        source, target = self.source[edge], self.target[edge]
        why = "; ".join(s.text for s in self._why(edge))
        return f"{self.show(source)} {word} {self.show(target)} [{self.number[edge]}: {why}]"

    def _why(self, edge: int) -> tuple[Statement, ...]:
        ends = (self._exists.get(self.source[edge], ()), self._exists.get(self.target[edge], ()))
        return self.reason[edge] or ends[0] or ends[1]

    def statements(self, edges: list[int]) -> Iterator[Statement]:
        """Yield the statements behind some edges: their reasons and why the events exist."""
        for e in edges:
            yield from self._why(e)
            yield from self._exists.get(self.source[e], ())

    def components(self) -> npt.NDArray[np.int64]:
        """Return the strongly connected component of each node, shape ``(n_events,)``."""
        n = len(self.nodes)
        if n == 0:
            return np.zeros(0, dtype=np.int64)
        matrix = coo_matrix((np.ones(len(self.source)), (self.source, self.target)), shape=(n, n))
        _, label = connected_components(matrix.tocsr(), directed=True, connection="strong")
        return np.asarray(label, dtype=np.int64)


def _shortest_cycle(events: Events, inside: list[int], strict: list[int]) -> list[int]:
    """Return the edges of a shortest cycle that begins with a strict edge.

    In a component so large that trying every strict edge would cost more than `EFFORT` passes over
    it, the shortest of those tried is returned.
    """
    out: dict[int, list[int]] = defaultdict(list)
    for e in inside:
        out[events.source[e]].append(e)
    best: list[int] = []
    budget = EFFORT * len(inside)
    for first in strict:
        if best and budget < 0:
            break
        start, goal = events.target[first], events.source[first]
        if start == goal:
            return [first]
        # No cycle longer than the best so far is of interest.
        limit = len(best) - 2 if best else len(inside)
        via: dict[int, int] = {start: -1}
        queue = deque([(start, 0)])
        while queue and goal not in via:
            node, depth = queue.popleft()
            budget -= 1
            if depth >= limit:
                break
            for e in out[node]:
                if events.target[e] not in via:
                    via[events.target[e]] = e
                    queue.append((events.target[e], depth + 1))
        if goal in via:
            path, node = [], goal
            while node != start:
                path.append(via[node])
                node = events.source[via[node]]
            best = [first, *reversed(path)]
            if len(best) == 2:
                break
    return best


def check_order(events: Events) -> None:
    """Report each strongly connected component of events that holds a strict edge.

    The violation carries number 42, the only constraint that orders strictly; `constraints` lists
    all that the witness, a shortest cycle through a strict edge, uses.
    """
    instance = events.instance
    label = events.components()
    inside: dict[int, list[int]] = defaultdict(list)
    for e, (u, v) in enumerate(zip(events.source, events.target, strict=True)):
        if label[u] == label[v]:
            inside[int(label[u])].append(e)
    for edges in inside.values():
        strict = [e for e in edges if events.strict[e]]
        if not strict:
            continue
        cycle = _shortest_cycle(events, edges, strict)
        numbers = [events.number[e] for e in cycle]
        first = events.show(events.source[cycle[0]])
        message = f"no order of the events: {first} would strictly precede itself"
        witness = [events.step(e) for e in cycle]
        instance.report(42, events.statements(cycle), witness, message, constraints=numbers)


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
    n = len(events)
    label = events.components()
    n_parts = int(label.max()) + 1
    source = np.asarray(events.source, dtype=np.int64)
    target = np.asarray(events.target, dtype=np.int64)
    between = np.flatnonzero(label[source] != label[target])
    waiting = np.bincount(label[target[between]], minlength=n_parts)
    out: list[list[int]] = [[] for _ in range(n_parts)]
    for e in between.tolist():
        out[label[events.source[e]]].append(e)
    own: dict[int, list[tuple[datetime, Statement, int]]] = defaultdict(list)
    for node in range(n):
        for moment, s in events.times.get(node, ()):
            own[int(label[node])].append((moment, s, node))

    found: list[Violation] = []
    # Per component and kind of clock: the latest time that reached it, statement, node, edge.
    latest: list[dict[bool, tuple[datetime, Statement, int, int]]] = [{} for _ in range(n_parts)]
    ready = deque(np.flatnonzero(waiting == 0).tolist())
    while ready:
        part = ready.popleft()
        for aware in (False, True):
            times = [t for t in own.get(part, ()) if (t[0].tzinfo is not None) == aware]
            if not times:
                continue
            low, high = min(times, key=lambda t: t[0]), max(times, key=lambda t: t[0])
            before = latest[part].get(aware)
            if before is not None and before[0] > low[0]:
                found.append(_contradiction(events, label, latest, aware, part, low))
            elif low[0] < high[0]:
                found.append(_split(events, low, high))
            if before is None or before[0] > low[0] or high[0] >= before[0]:
                latest[part][aware] = (high[0], high[1], high[2], -1)
        for e in out[part]:
            follower = int(label[events.target[e]])
            for aware, (moment, s, node, _) in latest[part].items():
                known = latest[follower].get(aware)
                if known is None or moment > known[0]:
                    latest[follower][aware] = (moment, s, node, e)
            waiting[follower] -= 1
            if waiting[follower] == 0:
                ready.append(follower)
    return tuple(sorted(found, key=lambda v: v.message))


def _contradiction(
    events: Events,
    label: npt.NDArray[np.int64],
    latest: list[dict[bool, tuple[datetime, Statement, int, int]]],
    aware: bool,
    part: int,
    low: tuple[datetime, Statement, int],
) -> Violation:
    moment, statement, node, edge = latest[part][aware]
    path = []
    while edge >= 0:
        path.append(edge)
        edge = latest[int(label[events.source[edge]])][aware][3]
    path.reverse()
    message = (
        f"{events.show(node)} at {moment.isoformat()} must precede "
        f"{events.show(low[2])} at {low[0].isoformat()}"
    )
    numbers = sorted({events.number[e] for e in path})
    texts = dict.fromkeys(s.text for s in (statement, low[1], *events.statements(path)))
    witness = tuple(events.step(e) for e in path)
    name = "times-contradict-order"
    return Violation(
        "T1", name, tuple(texts), witness, message, tuple(numbers), events.instance.bundle
    )


def _split(
    events: Events, low: tuple[datetime, Statement, int], high: tuple[datetime, Statement, int]
) -> Violation:
    message = (
        f"{events.show(low[2])} at {low[0].isoformat()} and {events.show(high[2])} at "
        f"{high[0].isoformat()} must be simultaneous"
    )
    texts = tuple(dict.fromkeys((low[1].text, high[1].text)))
    number = SIMULTANEOUS.get(events.nodes[low[2]][0])
    numbers = (number,) if number is not None and low[2] == high[2] else ()
    witness = tuple(f"{n}: {NAMES[n]}" for n in numbers) or texts
    name = "times-contradict-order"
    return Violation("T1", name, texts, witness, message, numbers, events.instance.bundle)
