"""The ledger for other programs: what is written, and that its words are schema.org's."""

from __future__ import annotations

import csv
import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from smallbook import build, page

from lib.core.ledger import collect
from lib.core.ledger.claims import load_all
from tenpapers.exports import claim_reviews, to_csv


def reviews(root: Path) -> dict[str, Any]:
    return claim_reviews(collect(root=root), load_all(root=root), "ledger.html")


def test_a_line_for_each_row(book: Path) -> None:
    rows = collect(root=book)
    found = {one["id"]: one for one in csv.DictReader(io.StringIO(to_csv(rows)))}
    assert list(found) == [row.claim.id for row in rows]
    b = found["ch01.b"]
    assert (b["by"], b["verdict"], b["measured"]) == ("ours", "differs", "2 [1, 3]")
    assert b["notebook"] == "notebooks/ch01_toy/01_one.ipynb"
    assert found["ch01.d"]["verdict"] == "not testable here"
    assert found["ch01.d"]["measured"] == found["ch01.d"]["notebook"] == ""


def test_only_the_papers_tested_rows_are_reviewed(book: Path) -> None:
    rows = {row.claim.id: row for row in collect(root=book)}
    graph = reviews(book)["@graph"]
    tested = [
        id
        for id, row in rows.items()
        if row.claim.by == "paper" and row.label not in ("not testable here", "not reported")
    ]
    assert [one["url"] for one in graph] == [f"ledger.html#row-{id}" for id in tested]
    first = graph[0]
    assert first["claimReviewed"] == rows[tested[0]].claim.statement
    assert first["reviewRating"]["alternateName"] == rows[tested[0]].label == "holds"
    assert first["reviewRating"]["ratingValue"] == first["reviewRating"]["bestRating"] == 5
    assert first["reviewRating"]["worstRating"] == 1


def test_every_word_is_of_the_vocabulary_and_stands_where_it_may(book: Path) -> None:
    text = files("rocrate").joinpath("data", "schema.jsonld").read_text(encoding="utf-8")
    terms = {one["@id"]: one for one in json.loads(text)["@graph"]}

    def ids(one: Any) -> list[str]:
        return [i["@id"] for i in (one if isinstance(one, list) else [one] if one else [])]

    def lineage(kind: str) -> set[str]:
        above = ids(terms[kind].get("rdfs:subClassOf"))
        return {kind}.union(*(lineage(one) for one in above if one in terms))

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for one in node:
                walk(one)
        elif isinstance(node, dict):
            for key, value in node.items():
                if key != "@type":
                    domains = ids(terms[f"schema:{key}"]["schema:domainIncludes"])
                    assert lineage(f"schema:{node['@type']}") & set(domains), (node["@type"], key)
                    walk(value)

    walk(reviews(book)["@graph"])


def test_the_page_carries_them_and_the_files_lie_beside_it(book: Path) -> None:
    build(book)
    shown = page(book, "book/ledger.html")
    data = json.loads(shown.select_one('script[type="application/ld+json"]').text)
    assert data["@context"] == "https://schema.org"
    assert data["@graph"] == reviews(book)["@graph"]
    folder = book / "_build/html/downloads"
    rows = json.loads((folder / "ledger.json").read_text(encoding="utf-8"))["rows"]
    assert [one["id"] for one in rows] == [row.claim.id for row in collect(root=book)]
    assert (folder / "ledger.csv").read_text(encoding="utf-8") == to_csv(collect(root=book))
