"""Names of things: which IRI each kind of entity, activity and property gets, and from whom.

The book's terms stand in ``vocabulary.yml``. Where the authors' released writer or context declares
a term, we use theirs. Terms of ours live in the namespace ``rp``. The
vocabulary is open: whoever records may give any IRI of their own, or ``prefix:name`` with one of
`PREFIXES`, wherever a kind, a role, an attribute or a unit is asked for; see `named`.

Identifiers follow three rules.

- *Content* is named by its bytes: ``nih:sha-256;<hex>``, the readable form of RFC 6920.
- A *place* is named inside its collection: ``arcp://uuid,<execution>/<path>`` in a campaign, whose
  every execution has a UUID, and ``arcp://name,<data set>/<path>`` in a data set. The scheme is
  made for paths in an archive that has no address on the web.
- A *file* is some content at some place: ``<place>#<first 16 hex digits>``. It is a specialization
  of the content. Two copies are two files and one content; an overwritten path is two files.

References
----------
W3C PROV-O, 2013; W3C DCAT 3; QUDT 2.1; RFC 6920; Soiland-Reyes and Cáceres, *The Archive and
Package (arcp) URI scheme*, 2018; RoboVAST's ``fair_metadata.py`` (Apache-2.0).
"""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyoxigraph
import yaml


@dataclass(frozen=True)
class Term:
    """A kind of entity or activity.

    Parameters
    ----------
    curie : str
        Prefix and local name, such as ``robovast:TestExecution``; or a whole IRI.
    meaning : str
        What it stands for, in a few words.
    media_type : str
        Of the file, where the kind is a kind of file.
    """

    curie: str
    meaning: str
    media_type: str = ""


_TABLE: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_suffix(".yml").read_text(encoding="utf-8")
)


def _terms(group: str) -> dict[str, Term]:
    return {
        name: Term(row["iri"], row["meaning"], row.get("media", ""))
        for name, row in _TABLE[group].items()
    }


PREFIXES: dict[str, str] = _TABLE["prefixes"]
"""Namespaces by prefix."""
SPARQL_HEAD = "".join(
    f"PREFIX {name}: <{space}>\n" for name, space in PREFIXES.items() if name != "content"
)
"""What a query with these prefixes starts with."""
ENTITY_KINDS: dict[str, Term] = _terms("entities")
ACTIVITY_KINDS: dict[str, Term] = _terms("activities")
ROLES: dict[str, str] = _TABLE["roles"]
"""What each role means."""
UNITS: dict[str, str] = _TABLE["units"]
"""QUDT unit by symbol."""


@functools.lru_cache(maxsize=65536)
def check_iri(name: str, value: str) -> str:
    """Return a text that is an absolute IRI (RFC 3987), as oxigraph's parser sees it.

    Parameters
    ----------
    name : str
        Of the argument, for the message.
    value : str

    Raises
    ------
    ValueError
        If it is none: no scheme, nothing after it, a space, a bracket, a broken escape.

    Examples
    --------
    >>> check_iri("agent", "https://orcid.org/0000-0002-1825-0097")
    'https://orcid.org/0000-0002-1825-0097'
    >>> check_iri("agent", "https://ex.org/a b")
    Traceback (most recent call last):
        ...
    ValueError: agent is 'https://ex.org/a b', expected an absolute IRI (Invalid IRI code point ' ')
    """
    try:
        pyoxigraph.NamedNode(value)
        reason = "" if value.partition(":")[2].strip("/") else "nothing after the scheme"
    except (TypeError, ValueError) as error:
        reason = str(error)
    if reason:
        raise ValueError(f"{name} is {value!r}, expected an absolute IRI ({reason})")
    return value


def iri(curie: str) -> str:
    """Return the IRI of a prefixed name; a whole IRI stays what it is.

    Raises
    ------
    ValueError
        If the prefix is unknown and it is no IRI.

    Examples
    --------
    >>> iri("prov:used")
    'http://www.w3.org/ns/prov#used'
    """
    prefix, colon, local = curie.partition(":")
    if colon and prefix in PREFIXES and not local.startswith("//"):
        return check_iri("name", PREFIXES[prefix] + local)
    if "/" not in curie and prefix not in ("urn", "nih", "tag", "doi"):
        raise ValueError(f"{curie!r}: unknown prefix, expected an IRI or {', '.join(PREFIXES)}")
    return check_iri("name", curie)


def named(what: str, word: str, table: Mapping[str, object], own: Mapping[str, str]) -> str:
    """Return a word of the vocabulary in the form in which it is recorded.

    Parameters
    ----------
    what : str
        What is being named, for the message.
    word : str
        A name in `table` (which stays), a name in `own`, an IRI, or ``prefix:name``.
    table : mapping
        The book's words, such as `ENTITY_KINDS`.
    own : mapping of str to str
        The caller's words and their IRIs.

    Raises
    ------
    ValueError
        If it is none of these; names what is close.

    Examples
    --------
    >>> named("kind", "RosBag", ENTITY_KINDS, {}), named("unit", "unit:N-M", UNITS, {})
    ('RosBag', 'http://qudt.org/vocab/unit/N-M')
    >>> named("kind", "PointCloud", ENTITY_KINDS, {"PointCloud": "https://ex.org/robot#PointCloud"})
    'https://ex.org/robot#PointCloud'
    """
    if not isinstance(word, str) or not word:
        raise ValueError(f"{what} is {word!r}, expected a name or an IRI")
    if word in own:
        return iri(own[word])
    if word in table:
        return word
    if ":" in word:
        return iri(word)
    hint = ", ".join(difflib.get_close_matches(word, [*table, *own], 3, 0.5) or [*table][:3])
    raise ValueError(
        f"{what} is {word!r}, expected a name of the vocabulary (such as {hint}), a name in "
        "`terms`, an IRI, or prefix:name"
    )


def term(kind: str, table: Mapping[str, Term]) -> Term:
    """Return a kind's term; one that is not the book's means what its IRI says.

    Examples
    --------
    >>> term("https://ex.org/robot#GraspExecution", ACTIVITY_KINDS).meaning
    'GraspExecution'
    """
    return table.get(kind) or Term(kind, local_name(kind))


def local_name(word: str) -> str:
    """Return what stands after an IRI's last ``#`` or ``/``; a plain word stays what it is."""
    return re.split(r"[#/]", word.rstrip("#/"))[-1] or word


def slug(text: str) -> str:
    """Return a text as a piece of an IRI or of a path: letters, digits, ``.``, ``_`` and ``-``.

    Letters may be of any script; different texts may give the same slug.

    Raises
    ------
    ValueError
        If nothing is left.

    Examples
    --------
    >>> slug("Door width 0.5 m/ü"), slug("走廊 1")
    ('Door-width-0.5-m-ü', '走廊-1')
    """
    cleaned = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", text)).strip("-.")
    if not cleaned:
        raise ValueError(f"{text!r} has no letter or digit to make a name of")
    return cleaned


def base_iri(collection: str) -> str:
    """Return the IRI below which everything of a collection is named.

    Parameters
    ----------
    collection : str
        A name, or a base IRI already (with ``://`` in it), which stays what it is.

    Examples
    --------
    >>> base_iri("demo")
    'arcp://name,demo/'
    """
    return collection if "://" in collection else f"arcp://name,{slug(collection)}/"


def content_iri(sha256: str) -> str:
    """Return the name of some bytes.

    Raises
    ------
    ValueError
        If `sha256` is not 64 lower-case hexadecimal digits.

    Examples
    --------
    >>> content_iri("ab" * 32)[:24]
    'nih:sha-256;abababababab'
    """
    if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"sha256 is {sha256!r}, expected 64 lower-case hexadecimal digits")
    return PREFIXES["content"] + sha256


def place_iri(collection: str, path: str) -> str:
    """Return the name of a place in a collection; `path` has ``/`` between its parts.

    Examples
    --------
    >>> place_iri("demo", "runs/a b/trace.csv")
    'arcp://name,demo/runs/a%20b/trace.csv'
    """
    return base_iri(collection) + quote(path, safe="/~")


def file_iri(collection: str, path: str, sha256: str) -> str:
    """Return the name of some bytes at some place.

    Examples
    --------
    >>> file_iri("demo", "a.csv", "ab" * 32)
    'arcp://name,demo/a.csv#abababababababab'
    """
    content_iri(sha256)
    return f"{place_iri(collection, path)}#{sha256[:16]}"


def unit_iri(unit: str) -> str:
    """Return the IRI of a unit: QUDT's, for the symbols in `UNITS`.

    Raises
    ------
    ValueError
        If it is no symbol in `UNITS` and no IRI.

    Examples
    --------
    >>> unit_iri("m/s"), unit_iri("unit:N-M-SEC")
    ('http://qudt.org/vocab/unit/M-PER-SEC', 'http://qudt.org/vocab/unit/N-M-SEC')
    """
    found = named("unit", unit, UNITS, {})
    return PREFIXES["unit"] + UNITS[found] if found in UNITS else found
