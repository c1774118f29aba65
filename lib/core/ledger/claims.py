"""Reading ``claims.yml`` and ``data/chapters.yml``: strict, with errors that name the place."""

from __future__ import annotations

import datetime
import difflib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from lib.core.ledger.values import LedgerError, Number, Scalar, Value, encode, from_text
from lib.core.ledger.verdicts import DIRECTION, HOLDS, judge, worst
from lib.core.paths import ROOT

__all__ = [
    "BASES",
    "KINDS",
    "OUT_OF_REACH",
    "Chapter",
    "Claim",
    "Entry",
    "LedgerError",
    "Null",
    "Paper",
    "Trained",
    "UnknownClaimError",
    "chapter_slugs",
    "find_claim",
    "load_all",
    "load_chapter",
    "load_contents",
]

OUT_OF_REACH = "out of reach"
BASES = ("exact", "real data", "scaled down", "simulated", OUT_OF_REACH)
KINDS = ("theorem", "number", "direction", "property")

# The keys of each form a tolerance may take; `sign` belongs to two of them.
_FORMS: dict[str, frozenset[str]] = {
    "exact": frozenset({"exact", "sign"}),
    "distance": frozenset({"abs", "rel", "sign"}),
    "category": frozenset({"holds", "direction"}),
    "bound": frozenset({"at_least", "at_most"}),
    "sign": frozenset({"sign"}),
}


class UnknownClaimError(LedgerError, KeyError):
    """A claim id that no chapter declares."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Paper:
    """The paper a chapter is about.

    Parameters
    ----------
    title : str
    authors : tuple of str
    arxiv : str
        Identifier without version, for example ``"2605.31036"``.
    version, date, venue, licence : str
        Empty where unknown; `date` in ISO form.
    """

    title: str
    authors: tuple[str, ...]
    arxiv: str
    version: str = ""
    date: str = ""
    venue: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Null:
    """What doing nothing, chance or the cheapest baseline would give, and why.

    Parameters
    ----------
    value : Value
        One value, which stands for each element of a list, or a list.
    why : str
        What gives it.
    """

    value: Value
    why: str


@dataclass(frozen=True)
class Claim:
    """One declared result, written before the run.

    Parameters
    ----------
    id : str
        Starts with the chapter, for example ``ch01.table1.tcpa_fpa.revenue``.
    by : str
        ``paper`` or ``ours``.
    source : str
        Where it stands: section, table or figure of the paper, a released file, a page of the book.
    statement : str
        One sentence in our words; inline Markdown and ``$math$``.
    kind : str
        One of `KINDS`.
    basis : str
        What it is run on, one of `BASES`.
    value : Value or None
        The paper's value, or what we expected before the run.
    tolerance : dict
        As declared; `form` says which kind it is. Empty where the basis is "out of reach".
    unit, control, reason : str
        Empty where not given. `control` says what is broken on purpose; `reason` why the claim is
        out of reach.
    labels : tuple of str
        A name for each element of a list; empty for one value or an unlabelled list.
    null : Null, optional
        What nothing would give.
    control_of : str
        Id of the claim whose experiment is the control of this one too; empty if none.
    measured_before : str
        Where the value had been measured before it was declared; empty if nowhere.
    """

    id: str
    by: str
    source: str
    statement: str
    kind: str
    basis: str
    value: Value | None
    tolerance: dict[str, Any]
    unit: str = ""
    control: str = ""
    reason: str = ""
    labels: tuple[str, ...] = ()
    null: Null | None = None
    control_of: str = ""
    measured_before: str = ""

    @property
    def form(self) -> str:
        """exact, distance, category, bound or sign: which rule makes the verdict."""
        return _form(self.tolerance)

    @property
    def runnable(self) -> bool:
        """Whether there is something to measure: the basis is not "out of reach"."""
        return self.basis != OUT_OF_REACH

    @property
    def length(self) -> int | None:
        """How many values a report must have: None for one value or a list of any length."""
        if isinstance(self.value, tuple):
            return len(self.value)
        return len(self.labels) or None

    @property
    def needs_interval(self) -> bool:
        """Whether it states a direction or a bound about data or a simulation."""
        direction = self.form in ("sign", "bound") or self.tolerance.get("sign") is True
        return direction and self.basis != "exact"

    @property
    def needs_control(self) -> bool:
        """Whether chance or a broken method could meet it: all but numbers that must be equal."""
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        equal_numbers = self.form == "exact" and all(_is_number(v) for v in values)
        return self.runnable and not equal_numbers

    def judged(self) -> dict[str, Any]:
        """Return, as JSON data, all that a report checks or stores; no words of the claim.

        Examples
        --------
        >>> claim = Claim("ch01.x", "paper", "T. 1", "A sum.", "number", "exact", 1, {"abs": 0.1})
        >>> claim.judged()["tolerance"], "statement" in claim.judged()
        ({'abs': 0.1}, False)
        """
        return {
            "id": self.id,
            "by": self.by,
            "basis": self.basis,
            "value": encode(self.value),
            "labels": list(self.labels),
            "unit": self.unit,
            "tolerance": {key: encode(value) for key, value in self.tolerance.items()},
            "null": encode(self.null.value) if self.null else None,
            "control": bool(self.control),
            "control_of": self.control_of,
        }


@dataclass(frozen=True)
class Trained:
    """How far a decimal number of a trained cell may lie from the stored one (`lib.core.proof`).

    Parameters
    ----------
    abs, rel : float
        In the unit shown, and as a share of the stored number; the larger one counts.
    why : str
        From which spread over seeds it was set.
    """

    abs: float
    rel: float
    why: str


@dataclass(frozen=True)
class Chapter:
    """A written chapter: its paper and its claims, in the order of the file."""

    slug: str
    number: int
    title: str
    question: str
    paper: Paper
    claims: tuple[Claim, ...]
    inputs: tuple[float, ...] = ()
    trained: dict[str, Trained] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One line of ``data/chapters.yml``: a chapter of the book, written or planned."""

    number: int
    slug: str
    title: str
    arxiv: str
    question: str


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML that refuses a key given twice or not quoted, and reads ``5e-05`` as a number."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {k for k in keys if keys.count(k) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key given twice: {', '.join(map(str, twice))}", node.start_mark
            )
        if None in keys:
            words = 'the key null needs quotes: "null"'
            raise yaml.constructor.ConstructorError(None, None, words, node.start_mark)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


# YAML 1.1 wants a dot before the exponent, and would read a tolerance of 5e-05 as a string.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+"), list("-+0123456789")
)


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        raise LedgerError(f"{path}: not readable as YAML: {error}") from None


def _keys(data: Any, required: Iterable[str], optional: Iterable[str], where: str) -> None:
    if not isinstance(data, dict):
        raise LedgerError(f"{where}: found {data!r}; expected keys with values")
    required, optional = tuple(required), tuple(optional)
    for key in data:
        if key not in required + optional:
            raise LedgerError(
                f"{where}: unknown key {key!r}; expected {', '.join(required + optional)}"
            )
    for key in required:
        if key not in data:
            raise LedgerError(f"{where}: key {key!r} is missing")


def _text(data: dict[str, Any], key: str, where: str, *, needed: bool = True) -> str:
    value = data.get(key)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or (needed and not value.strip()):
        raise LedgerError(
            f"{where}: {key} is {value!r}; expected text (in quotes if it looks like a number)"
        )
    return value.strip()


def _choice(data: dict[str, Any], key: str, choices: tuple[str, ...], where: str) -> str:
    value = data[key]
    if value not in choices:
        raise LedgerError(f"{where}: {key} is {value!r}; expected one of {', '.join(choices)}")
    return str(value)


def _is_number(value: object) -> TypeGuard[Number]:
    return isinstance(value, int | float | Fraction) and not isinstance(value, bool)


def _form(tolerance: dict[str, Any]) -> str:
    """Return the form of a tolerance; '' for keys that make none."""
    keys = set(tolerance)
    for form, allowed in _FORMS.items():
        if keys <= allowed and keys - {"sign"}:
            return form
    return "sign" if keys == {"sign"} else ""


def _claimed(raw: Any, where: str) -> Value | None:
    if raw is None:
        return None
    if isinstance(raw, list):
        if not raw:
            raise LedgerError(f"{where}: value is an empty list")
        return tuple(_claimed_scalar(v, where) for v in raw)
    return _claimed_scalar(raw, where)


def _claimed_scalar(raw: Any, where: str) -> Scalar:
    # inf and nan compare falsely with themselves or overflow in Fraction: refuse them here.
    if isinstance(raw, float) and raw - raw != 0:
        raise LedgerError(f"{where}: value is {raw}; expected a finite number")
    if isinstance(raw, bool | int | float | str):
        return from_text(raw)
    raise LedgerError(f"{where}: value is {raw!r}; expected bool, number, text or a list of them")


def _tolerance(raw: Any, value: Value | None, where: str) -> dict[str, Any]:
    where = f"{where}: tolerance"
    if not isinstance(raw, dict) or not raw:
        raise LedgerError(f"{where}: found {raw!r}; expected for example {{abs: 0.01}}")
    known = frozenset().union(*_FORMS.values())
    for key in raw:
        if key not in known:
            raise LedgerError(f"{where}: unknown key {key!r}; expected {', '.join(sorted(known))}")
    form = _form(raw)
    if not form:
        raise LedgerError(f"{where}: keys {', '.join(raw)} do not go together")
    values = value if isinstance(value, tuple) else (value,)
    numeric = all(_is_number(v) for v in values)
    tolerance = dict(raw)
    if form == "exact":
        if raw["exact"] is not True:
            raise LedgerError(f"{where}: exact is {raw['exact']!r}; expected true")
        if value is None:
            raise LedgerError(f"{where}: exact needs a value to compare with")
    elif form == "distance":
        for key in {"abs", "rel"} & set(raw):
            if not _is_number(raw[key]) or not raw[key] >= 0 or raw[key] == float("inf"):
                raise LedgerError(f"{where}: {key} is {raw[key]!r}; expected a number ≥ 0")
        if not numeric:
            raise LedgerError(
                f"{where}: abs and rel need a number to compare with, value is {value!r}"
            )
    elif form == "category":
        if "holds" not in raw:
            raise LedgerError(f"{where}: key 'holds' is missing")
        for key, names in raw.items():
            if (
                not isinstance(names, list)
                or not names
                or not all(isinstance(n, str) for n in names)
            ):
                raise LedgerError(f"{where}: {key} is {names!r}; expected a list of texts")
        if set(raw["holds"]) & set(raw.get("direction", [])):
            raise LedgerError(f"{where}: a category stands in both holds and direction")
        if not all(isinstance(v, str | None) for v in values):
            raise LedgerError(f"{where}: categories need a text as value, found {value!r}")
    elif form == "bound":
        for key in raw:
            tolerance[key] = from_text(raw[key])
            if not _is_number(tolerance[key]) or tolerance[key] - tolerance[key] != 0:
                raise LedgerError(f"{where}: {key} is {raw[key]!r}; expected a number")
        if tolerance.get("at_least", 0) > tolerance.get("at_most", float("inf")) and len(raw) == 2:
            raise LedgerError(
                f"{where}: at_least {raw['at_least']} exceeds at_most {raw['at_most']}"
            )
    if form == "sign":
        if raw["sign"] not in ("negative", "positive"):
            raise LedgerError(f"{where}: sign is {raw['sign']!r}; expected negative or positive")
    elif "sign" in raw:
        if raw["sign"] is not True:
            raise LedgerError(
                f"{where}: sign is {raw['sign']!r}; expected true beside abs, rel or exact"
            )
        if not numeric or any(v == 0 for v in values):
            raise LedgerError(f"{where}: sign: true needs numbers other than 0, value is {value!r}")
    if form in ("bound", "sign") and value is not None and not numeric:
        raise LedgerError(f"{where}: {form} needs a number or null as value, found {value!r}")
    return tolerance


def _labels(raw: Any, value: Value | None, where: str) -> tuple[str, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list) or not raw or not all(isinstance(r, str) and r for r in raw):
        raise LedgerError(f"{where}: labels is {raw!r}; expected a list of texts")
    if len(set(raw)) != len(raw):
        raise LedgerError(f"{where}: labels {', '.join(raw)} are not all different")
    if value is not None and not (isinstance(value, tuple) and len(value) == len(raw)):
        raise LedgerError(f"{where}: {len(raw)} labels; expected one for each value of a list")
    return tuple(raw)


def _null(raw: Any, length: int | None, where: str) -> Null | None:
    if raw is None:
        return None
    where = f"{where}: null"
    _keys(raw, ("value", "why"), (), where)
    value = _claimed(raw["value"], where)
    if value is None or (isinstance(value, tuple) and len(value) != length):
        raise LedgerError(
            f"{where}: value is {raw['value']!r}; expected one value"
            + (f" or {length} of them" if length else "")
        )
    return Null(value, _text(raw, "why", where))


def _claim(raw: Any, prefix: str, where: str) -> Claim:
    if isinstance(raw, dict) and isinstance(raw.get("id"), str):
        where = f"{where}: {raw['id']}"
    _keys(
        raw,
        ("id", "by", "source", "statement", "kind", "basis"),
        (
            *("value", "labels", "unit", "tolerance", "null", "control", "control_of"),
            *("measured_before", "reason"),
        ),
        where,
    )
    identifier = _text(raw, "id", where)
    if not re.fullmatch(rf"{re.escape(prefix)}(\.[a-z0-9_]+)+", identifier):
        raise LedgerError(
            f"{where}: id is {identifier!r}; expected {prefix}.name.name of a-z, 0-9 and _"
        )
    basis = _choice(raw, "basis", BASES, where)
    value = _claimed(raw.get("value"), where)
    reason = _text(raw, "reason", where, needed=basis == OUT_OF_REACH)
    if basis == OUT_OF_REACH:
        tolerance = {}  # nothing is compared, so nothing is kept
    elif reason:
        raise LedgerError(
            f"{where}: a reason belongs to the basis 'out of reach', not to {basis!r}"
        )
    else:
        tolerance = _tolerance(raw.get("tolerance"), value, where)
    labels = _labels(raw.get("labels"), value, where)
    claim = Claim(
        id=identifier,
        by=_choice(raw, "by", ("paper", "ours"), where),
        source=_text(raw, "source", where),
        statement=_text(raw, "statement", where),
        kind=_choice(raw, "kind", KINDS, where),
        basis=basis,
        value=value,
        tolerance=tolerance,
        unit=_text(raw, "unit", where, needed=False),
        control=_text(raw, "control", where, needed=False),
        reason=reason,
        labels=labels,
        null=_null(raw.get("null"), len(value) if isinstance(value, tuple) else len(labels), where),
        control_of=_text(raw, "control_of", where, needed=False),
        measured_before=_text(raw, "measured_before", where, needed=False),
    )
    if claim.control and claim.control_of:
        raise LedgerError(f"{where}: control and control_of both stand here; expected one of them")
    for problem in _shortcomings(claim):
        raise LedgerError(f"{where}: {problem}")
    return claim


def _shortcomings(claim: Claim) -> Iterator[str]:
    """Say what a declaration lacks."""
    if "dossier" in claim.source.casefold():
        place = "a section, table or figure of the paper, a released file, or a page of the book"
        yield f"source is {claim.source!r}; expected {place}"
    if not claim.runnable:
        return
    if claim.null is None:
        if claim.basis != "exact":
            yield f"null is missing; a claim on {claim.basis} says what nothing would give"
    elif (label := worst(judge(claim, claim.null.value, point=True))) in (HOLDS, DIRECTION):
        yield f"the tolerance is met by what nothing would give ({claim.null.why}): {label}"
    if claim.kind == "direction" and claim.basis != "exact" and not claim.needs_interval:
        yield "a direction on data is judged by sign or a bound, for it needs an interval"
    if claim.needs_control and not (claim.control or claim.control_of):
        yield "control is missing; say what is broken on purpose"


def _paper(raw: Any, where: str) -> Paper:
    where = f"{where}: paper"
    optional = ("version", "date", "venue", "licence")
    _keys(raw, ("title", "authors", "arxiv"), optional, where)
    raw = dict(raw)
    if isinstance(raw.get("date"), datetime.date):
        raw["date"] = raw["date"].isoformat()
    authors = raw["authors"]
    if not isinstance(authors, list) or not authors or not all(isinstance(a, str) for a in authors):
        raise LedgerError(f"{where}: authors is {authors!r}; expected a list of names")
    arxiv = _text(raw, "arxiv", where)
    if not re.fullmatch(r"\d{4}\.\d{5}", arxiv):
        raise LedgerError(
            f"{where}: arxiv is {arxiv!r}; expected an identifier such as '2605.31036'"
        )
    more = {key: _text(raw, key, where, needed=False) for key in optional}
    return Paper(_text(raw, "title", where), tuple(authors), arxiv, **more)


def _trained(raw: Any, where: str) -> dict[str, Trained]:
    """Read the tolerances of trained cells: ``{name: {abs, rel, why}}``, one of the two numbers."""
    if not isinstance(raw, dict):
        raise LedgerError(f"{where}: trained is {raw!r}; expected names with abs, rel and why")
    found = {}
    for name, one in raw.items():
        here = f"{where}: trained {name}"
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", str(name)):
            raise LedgerError(f"{here}: expected a name of a-z, 0-9 and single hyphens")
        _keys(one, ("why",), ("abs", "rel"), here)
        sizes = {key: one.get(key, 0) for key in ("abs", "rel")}
        for key, size in sizes.items():
            if not _is_number(size) or not 0 <= size < float("inf"):
                raise LedgerError(f"{here}: {key} is {size!r}; expected a finite number ≥ 0")
        if not any(sizes.values()):
            raise LedgerError(f"{here}: allows nothing; expected abs or rel above 0")
        found[str(name)] = Trained(**sizes, why=_text(one, "why", here))
    return found


@lru_cache(maxsize=64)
def _load(path: Path, stamp: tuple[int, int]) -> Chapter:
    """Read one file; `stamp` (time, size) makes the cache notice a change."""
    slug = path.parent.name
    where = f"book/{slug}/claims.yml"
    raw = _read(path)
    _keys(
        raw,
        ("chapter", "number", "title", "question", "paper", "claims"),
        ("inputs", "trained"),
        where,
    )
    if raw["chapter"] != slug:
        raise LedgerError(
            f"{where}: chapter is {raw['chapter']!r}; expected the folder's name {slug!r}"
        )
    number = raw["number"]
    if not isinstance(number, int) or not slug.startswith(f"ch{number:02d}_"):
        raise LedgerError(f"{where}: number is {number!r}; the folder is {slug!r}")
    inputs = raw.get("inputs") or []
    if not isinstance(inputs, list) or not all(_is_number(i) for i in inputs):
        raise LedgerError(f"{where}: inputs is {inputs!r}; expected a list of numbers")
    if not isinstance(raw["claims"], list) or not raw["claims"]:
        raise LedgerError(f"{where}: claims is {raw['claims']!r}; expected a list of claims")
    claims = tuple(
        _claim(c, f"ch{number:02d}", f"{where}: claim {i}") for i, c in enumerate(raw["claims"], 1)
    )
    ids = [c.id for c in claims]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise LedgerError(f"{where}: id declared twice: {', '.join(twice)}")
    controlled = {c.id for c in claims if c.control and c.runnable}
    for claim in claims:
        if claim.control_of and claim.control_of not in controlled:
            raise LedgerError(
                f"{where}: {claim.id}: control_of is {claim.control_of!r}; expected a claim of "
                "this chapter with a control of its own"
            )
    return Chapter(
        slug=slug,
        number=number,
        title=_text(raw, "title", where),
        question=_text(raw, "question", where),
        paper=_paper(raw["paper"], where),
        claims=claims,
        inputs=tuple(inputs),
        trained=_trained(raw.get("trained") or {}, where),
    )


def load_chapter(slug: str, *, root: Path | None = None) -> Chapter:
    """Read and check ``book/<slug>/claims.yml``.

    Parameters
    ----------
    slug : str
        Folder name, for example ``ch01_autobidding``.
    root : Path, optional
        Repository root; the one this package lies in by default.

    Raises
    ------
    LedgerError
        If there is no such file, or anything in it is not as the format asks.
    """
    path = (root or ROOT) / "book" / slug / "claims.yml"
    if not path.is_file():
        written = chapter_slugs(root)
        raise LedgerError(
            f"no chapter {slug!r} with a claims.yml; there are {', '.join(written) or 'none'}"
        )
    stat = path.stat()
    return _load(path, (stat.st_mtime_ns, stat.st_size))


def chapter_slugs(root: Path | None = None) -> list[str]:
    """Folder names of the written chapters, those with a ``claims.yml``, in order."""
    return sorted(p.parent.name for p in (root or ROOT).glob("book/ch*/claims.yml"))


def load_all(*, root: Path | None = None) -> tuple[Chapter, ...]:
    """Read every written chapter, by number.

    Raises
    ------
    LedgerError
        As `load_chapter`, and if two chapters share a number (and so could share claim ids).
    """
    chapters = sorted(
        (load_chapter(s, root=root) for s in chapter_slugs(root)), key=lambda c: c.number
    )
    for first, second in itertools.pairwise(chapters):
        if first.number == second.number:
            raise LedgerError(f"{first.slug} and {second.slug} both have number {first.number}")
    return tuple(chapters)


def find_claim(id: str, *, root: Path | None = None) -> Claim:
    """Return the claim with this id.

    Raises
    ------
    UnknownClaimError
        If no chapter declares it; the message names those that come close.
    """
    # A mistake in another chapter's file must not stop this one.
    own = [s for s in chapter_slugs(root) if s.startswith(str(id).partition(".")[0] + "_")]
    for claim in (c for slug in own for c in load_chapter(slug, root=root).claims):
        if claim.id == id:
            return claim
    claims = [c.id for chapter in load_all(root=root) for c in chapter.claims]
    close = difflib.get_close_matches(str(id), claims, n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(close)}?" if close else "; declare it in claims.yml first"
    raise UnknownClaimError(f"no chapter declares a claim {id!r}{hint}")


def load_contents(*, root: Path | None = None) -> tuple[Entry, ...]:
    """Read ``data/chapters.yml``: all chapters of the book, written or planned, by number.

    Raises
    ------
    LedgerError
        If the file is missing or a line of it is not complete.
    """
    path = (root or ROOT) / "data" / "chapters.yml"
    if not path.is_file():
        raise LedgerError(f"{path} is missing; it lists the chapters of the book")
    entries = []
    for i, raw in enumerate(_read(path) or [], 1):
        where = f"data/chapters.yml: chapter {i}"
        _keys(raw, ("number", "slug", "title", "arxiv", "question"), (), where)
        if not isinstance(raw["number"], int):
            raise LedgerError(f"{where}: number is {raw['number']!r}; expected an integer")
        texts = {key: _text(raw, key, where) for key in ("slug", "title", "arxiv", "question")}
        entries.append(Entry(number=raw["number"], **texts))
    return tuple(sorted(entries, key=lambda e: e.number))
