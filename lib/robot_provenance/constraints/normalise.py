"""Statements as terms, the inferences that matter for validity, and merging by keys.

PROV-CONSTRAINTS first expands short forms: a missing argument is either an unknown (an existential
variable) or the placeholder ``-`` (a constant of its own). Then inferences add statements and the
uniqueness constraints 22 to 29 merge them, until nothing changes. A merge that needs two different
constants to be equal is a violation.

Left out are inferences that cannot make a document invalid: 5 and 6 (the events they add lie
between the ends that constraint 35 orders already), 12 and 16 to 18 and 20 (they add alternates,
which no constraint reads but typing, and typing knows those entities already). Inferences 7, 8, 19
and 21 are in `ordering` and `impossibility`, where their conclusions are used.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from prov.constants import PROV, PROV_N_MAP
from prov.model import ProvBundle, ProvRecord

from lib.robot_provenance.constraints.report import NAMES, RULES, Violation


class Need:
    """What a missing argument means: the signs of ``rules.yml``."""

    MUST: Final = "!"  # PROV-DM requires it
    UNKNOWN: Final = "?"  # expands to an existential variable
    NONE: Final = "-"  # stays the placeholder
    BY_ACTIVITY: Final = "/"  # unknown if the derivation names its activity, else none


def _argument(text: str) -> tuple[str, str, str]:
    name, _, role = text[:-1].partition(":")
    return name, role, text[-1]


SHAPES: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    kind: tuple(_argument(one) for one in arguments.split())
    for kind, arguments in RULES["statements"].items()
}
"""Kind of statement -> (argument, role, what its absence means), in the order of PROV-N."""

KEYED: Final = tuple(RULES["keyed"])

# Events whose identifier is determined by two of their arguments: (kind, positions, number).
UNIQUE: Final = tuple((kind, (i, j), number) for kind, (i, j, number) in RULES["unique"].items())

_NAMES_OF_KINDS: Final = {uri: word for uri, word in PROV_N_MAP.items() if word in SHAPES}
_EMPTY_COLLECTION: Final = PROV["EmptyCollection"]
_TYPE: Final = PROV["type"]


class _Placeholder:
    def __repr__(self) -> str:
        return "-"


class Terms:
    """Constants and existential variables under equality, as a union-find forest.

    Examples
    --------
    >>> terms = Terms()
    >>> a, b, x = terms.constant("a"), terms.constant("b"), terms.variable()
    >>> terms.unify(x, a), terms.unify(x, b), terms.show(x)
    (True, False, 'a')
    """

    _PLACEHOLDER: Final = _Placeholder()

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._value: list[object | None] = []
        self._index: dict[Hashable, int] = {}
        self.merged = 0
        self.none = self.constant(self._PLACEHOLDER)

    def constant(self, value: Hashable, shown: object | None = None) -> int:
        """Return the term of a constant: a URI, a time, or the placeholder."""
        index = self._index.get(value)
        if index is None:
            index = self._index[value] = self._new(value if shown is None else shown)
        return index

    def variable(self) -> int:
        """Return a fresh existential variable."""
        return self._new(None)

    def _new(self, value: object | None) -> int:
        self._parent.append(len(self._parent))
        self._value.append(value)
        return len(self._parent) - 1

    def find(self, term: int) -> int:
        """Return the representative of `term`."""
        parent = self._parent
        while parent[term] != term:
            parent[term] = parent[parent[term]]
            term = parent[term]
        return term

    def value(self, term: int) -> object | None:
        """Return the constant that `term` equals, or None if it is unknown."""
        return self._value[self.find(term)]

    def unify(self, first: int, second: int) -> bool:
        """Make two terms equal; False, and nothing done, if they are different constants."""
        first, second = self.find(first), self.find(second)
        if first == second:
            return True
        if self._value[first] is not None and self._value[second] is not None:
            return False
        if self._value[first] is None:
            first, second = second, first
        self._parent[second] = first
        self.merged += 1
        return True

    def show(self, term: int) -> str:
        """Return `term` for a reader."""
        value = self.value(term)
        return "(unknown)" if value is None else _shown(value)


@dataclass(slots=True)
class Statement:
    """One statement: its kind, the terms of its identifier and arguments, and its text."""

    kind: str
    ident: int
    args: tuple[int, ...]
    text: str


class Instance:
    """The statements of one bundle, with their terms, expanded, inferred and merged."""

    def __init__(self, bundle: str | None = None) -> None:
        self.bundle = bundle
        self.terms = Terms()
        self.statements: list[Statement] = []
        self.by_kind: dict[str, list[Statement]] = {kind: [] for kind in SHAPES}
        self.empty_collections: list[Statement] = []
        self.violations: list[Violation] = []
        self._reported: set[Hashable] = set()

    def add(self, statement: Statement) -> None:
        """Append a statement."""
        self.statements.append(statement)
        self.by_kind[statement.kind].append(statement)

    def report(
        self,
        code: int | str,
        statements: Iterable[Statement | str],
        witness: Iterable[str],
        message: str,
        *,
        name: str | None = None,
        constraints: Iterable[int] = (),
        key: Hashable = None,
    ) -> None:
        """Record a violation once per (code, `key`)."""
        key = (code, key if key is not None else message)
        if key in self._reported:
            return
        self._reported.add(key)
        texts = dict.fromkeys(s if isinstance(s, str) else s.text for s in statements)
        numbers = set(constraints) | ({code} if isinstance(code, int) else set())
        told = (str(code), name or NAMES[int(code)], tuple(texts), tuple(witness), message)
        self.violations.append(Violation(*told, tuple(sorted(numbers)), self.bundle))

    def _infer(self) -> None:
        terms, fresh = self.terms, self.terms.variable

        def add(kind: str, ident: int, args: tuple[int, ...], number: str, of: Statement) -> None:
            text = f"{kind} inferred by {number} from {of.text}"
            self.add(Statement(kind, ident, args, text))

        for kind, number in (("wasStartedBy", "9"), ("wasEndedBy", "10")):
            for s in self.by_kind[kind]:
                # With neither trigger nor starter named, the inferred event touches nothing known.
                if terms.value(s.args[1]) is not None or terms.value(s.args[2]) is not None:
                    add("wasGeneratedBy", fresh(), (s.args[1], s.args[2], fresh()), number, s)
        for s in self.by_kind["wasDerivedFrom"]:
            made, source, activity, generation, usage = s.args
            if terms.none not in (activity, generation, usage):
                add("used", usage, (activity, source, fresh()), "11", s)
                add("wasGeneratedBy", generation, (made, activity, fresh()), "11", s)
        for s in self.by_kind["wasAttributedTo"]:
            add("wasGeneratedBy", fresh(), (s.args[0], fresh(), fresh()), "13", s)
        for s in self.by_kind["actedOnBehalfOf"]:
            for agent in s.args[:2]:
                add("wasAssociatedWith", fresh(), (s.args[2], agent, fresh()), "14", s)
        for s in self.by_kind["mentionOf"]:
            add("specializationOf", fresh(), s.args[:2], "PROV-Links", s)

    def _merge(self) -> None:
        while True:
            before = self.terms.merged
            for kind in KEYED:
                self._merge_key(kind)
            for kind, positions, number in UNIQUE:
                self._merge_unique(kind, positions, number)
            self._merge_times("wasStartedBy", 0, 28)
            self._merge_times("wasEndedBy", 1, 29)
            self._merge_influence()
            self._merge_mentions()
            if self.terms.merged == before:
                return

    def _grouped(
        self, statements: Iterable[Statement], key: Callable[[Statement], Hashable]
    ) -> Iterable[tuple[Statement, Statement]]:
        first: dict[Hashable, Statement] = {}
        for s in statements:
            other = first.setdefault(key(s), s)
            if other is not s:
                yield other, s

    def _unify(
        self,
        code: int | str,
        pair: tuple[Statement, Statement],
        position: tuple[int, int],
        what: str,
        name: str | None = None,
    ) -> bool:
        """Unify two terms of a pair of statements or report; position -1 is the identifier."""
        terms = self.terms
        x, y = (s.ident if i < 0 else s.args[i] for s, i in zip(pair, position, strict=True))
        if terms.unify(x, y):
            return True
        left, right = sorted((terms.show(x), terms.show(y)))
        message = f"{what}: {left} and {right}"
        texts = tuple(sorted(s.text for s in pair))
        self.report(code, texts, texts, message, name=name, key=(texts, position))
        return False

    def _merge_key(self, kind: str) -> None:
        find, show = self.terms.find, self.terms.show
        number = 22 if kind == "activity" else 23
        for a, b in self._grouped(self.by_kind[kind], lambda s: find(s.ident)):
            known = self.terms.value(a.ident) is not None
            which = f"with identifier {show(a.ident)}" if known else "that must be one"
            for i, (argument, _, _) in enumerate(SHAPES[kind]):
                if find(a.args[i]) != find(b.args[i]):
                    what = f"two {kind} statements {which} disagree on prov:{argument}"
                    # A pair that cannot be one statement is not merged any further.
                    if not self._unify(number, (a, b), (i, i), what):
                        break

    def _merge_unique(self, kind: str, positions: tuple[int, int], number: int) -> None:
        find, show = self.terms.find, self.terms.show
        i, j = positions
        for a, b in self._grouped(self.by_kind[kind], lambda s: (find(s.args[i]), find(s.args[j]))):
            if find(a.ident) != find(b.ident):
                pair = f"{show(a.args[i])} and {show(a.args[j])}"
                what = f"{kind} of {pair} is one event but has two identifiers"
                self._unify(number, (a, b), (-1, -1), what)

    def _merge_times(self, kind: str, position: int, number: int) -> None:
        find, show = self.terms.find, self.terms.show
        first: dict[int, Statement] = {}
        for s in self.by_kind["activity"]:
            first.setdefault(find(s.ident), s)
        for s in self.by_kind[kind]:
            activity = first.get(find(s.args[0]))
            if activity is not None and find(activity.args[position]) != find(s.args[3]):
                argument = SHAPES["activity"][position][0]
                what = f"{argument} of {show(s.args[0])} and the time of its {kind} disagree"
                self._unify(number, (activity, s), (position, 3), what)

    def _merge_influence(self) -> None:
        # Inference 15: every relation is an influence with the same identifier, and 23 makes that
        # identifier a key. Kinds that 53 keeps apart need no second verdict.
        find, show = self.terms.find, self.terms.show
        loose = [*self.by_kind["wasInfluencedBy"], *self.by_kind["wasDerivedFrom"]]
        named = {find(s.ident) for s in loose if self.terms.value(s.ident) is not None}
        if not named:
            return
        rest = (s for kind in KEYED[1:-1] if kind != "wasDerivedFrom" for s in self.by_kind[kind])
        shared = (s for s in (*loose, *rest) if find(s.ident) in named)
        for a, b in self._grouped(shared, lambda s: find(s.ident)):
            if a.kind != b.kind:
                for position, word in enumerate(("influencee", "influencer")):
                    if find(a.args[position]) != find(b.args[position]):
                        both = f"{a.kind} and {b.kind} share identifier {show(a.ident)}"
                        what = f"{both} but not the {word}"
                        self._unify(23, (a, b), (position, position), what)

    def _merge_mentions(self) -> None:
        find, show = self.terms.find, self.terms.show
        for a, b in self._grouped(self.by_kind["mentionOf"], lambda s: find(s.args[0])):
            for position, word in ((1, "general entity"), (2, "bundle")):
                what = f"{show(a.args[0])} mentions two things with a different {word}"
                self._unify("L1", (a, b), (position, position), what, "unique-mention")


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _text(kind: str, record: ProvRecord, values: tuple[Any, ...]) -> str:
    shown = [_shown(v) for v in values]
    ident = record.identifier
    if kind in ("entity", "activity", "agent"):
        return f"{kind}({', '.join([_shown(ident), *shown])})"
    return f"{kind}({'' if ident is None else f'{ident}; '}{', '.join(shown)})"


def read(bundle: ProvBundle, name: str | None = None) -> Instance:
    """Read the statements of one bundle, expand, infer and merge them.

    Statements are taken in the order of their text, so the report does not depend on the order in
    which a serialisation lists them.

    Parameters
    ----------
    bundle : ProvBundle
        A document's own statements, or one of its bundles.
    name : str, optional
        The bundle's identifier, for the report.

    Returns
    -------
    Instance
        With the violations of 22 to 29, ``M1`` and ``L1``.
    """
    instance = Instance(name)
    terms = instance.terms

    def term(value: Any) -> int:
        if isinstance(value, datetime):
            return terms.constant(value)
        uri = getattr(value, "uri", None) or str(value)
        return terms.constant(uri, str(value))

    rows = []
    for record in bundle.get_records():
        kind = _NAMES_OF_KINDS.get(record.get_type())
        if kind is not None:
            values = record.args if kind not in ("entity", "agent") else ()
            rows.append((_text(kind, record, values), kind, record, values))
    rows.sort(key=lambda row: row[0])

    for text, kind, record, values in rows:
        ident = terms.variable() if record.identifier is None else term(record.identifier)
        args = []
        for (argument, _, need), value in zip(SHAPES[kind], values, strict=True):
            if value is not None:
                args.append(term(value))
            elif need == Need.NONE or (need == Need.BY_ACTIVITY and args[2] == terms.none):
                args.append(terms.none)
            else:
                args.append(terms.variable())
                if need == Need.MUST:
                    message = f"{text} lacks its prov:{argument}, which PROV-DM requires"
                    instance.report("M1", (text,), (text,), message, name="mandatory-argument")
        statement = Statement(kind, ident, tuple(args), text)
        instance.add(statement)
        if kind == "entity" and _EMPTY_COLLECTION in record.get_attribute(_TYPE):
            instance.empty_collections.append(statement)
    instance._infer()
    instance._merge()
    return instance
