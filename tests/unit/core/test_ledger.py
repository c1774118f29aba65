"""The ledger: every rule of a verdict, strict reading of claims, round trip by notebook."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lib.core.ledger import (
    MIME,
    NOT_REPORTED,
    VERDICTS,
    Claim,
    LedgerError,
    Measurement,
    UnknownClaimError,
    check,
    collect,
    load_all,
    load_chapter,
    load_contents,
    report,
    verdict,
)
from lib.core.ledger.__main__ import main
from lib.core.ledger.values import decode, encode, format_value, normalise

H, D, F, C = "holds", "holds in direction", "differs", "contradicted"


def claim(value: Any = None, tolerance: dict[str, Any] | None = None, **more: Any) -> Claim:
    fields: dict[str, Any] = {
        "id": "ch01.x",
        "by": "paper",
        "source": "Table 1",
        "statement": "A number.",
        "kind": "number",
        "basis": "exact",
        "value": value,
        "tolerance": tolerance or {},
    }
    return Claim(**(fields | more))


def judge(value: Any, tolerance: dict[str, Any], found: Any, interval: Any = None) -> str | None:
    return verdict(claim(value, tolerance), Measurement.of("ch01.x", found, interval))


EXACT = {"exact": True}
NEAR = {"abs": 0.05, "sign": True}
CATEGORIES = {"holds": ["never", "rarely"], "direction": ["sometimes"]}

RULES = [
    # exact: numbers by value and not by type, bool, text
    (Fraction(1, 2), EXACT, Fraction(2, 4), None, H),
    (Fraction(1, 2), EXACT, 0.5, None, H),
    (0.1, EXACT, Fraction(1, 10), None, H),
    (Fraction(1, 2), EXACT, "1/2", None, H),
    (3, EXACT, 3.0, None, H),
    (3, EXACT, 4, None, F),
    (Fraction(1, 3), EXACT, 0.333333, None, F),
    (True, EXACT, True, None, H),
    (True, EXACT, False, None, C),
    (False, EXACT, False, None, H),
    (False, EXACT, True, None, C),
    ("monotone", EXACT, "monotone", None, H),
    ("monotone", EXACT, "not monotone", None, C),
    (2, {"exact": True, "sign": True}, 3, None, D),
    (2, {"exact": True, "sign": True}, -2, None, C),
    # distance: the bound counts, in decimal and not in binary arithmetic
    (1.0, {"abs": 0.05}, 1.05, None, H),
    (1.0, {"abs": 0.05}, 0.95, None, H),
    (1.0, {"abs": 0.05}, 1.0501, None, F),
    (1.0, {"abs": 0.05}, -1.0, None, F),
    (200, {"rel": 0.01}, 202, None, H),
    (-200, {"rel": 0.01}, -202, None, H),
    (200, {"rel": 0.01}, 202.1, None, F),
    (200, {"abs": 3, "rel": 0.01}, 203, None, H),
    (200, {"abs": 1, "rel": 0.01}, 202, None, H),
    (0, {"abs": 0.0}, 0.0, None, H),
    (0, {"rel": 0.5}, 0.1, None, F),
    # distance with sign
    (-0.2, NEAR, -0.25, None, H),
    (-0.2, NEAR, -0.3, None, D),
    (-0.2, NEAR, 0.3, None, C),
    (-0.2, NEAR, 0.3, (0.1, 0.5), C),
    (-0.2, NEAR, 0.3, (-0.1, 0.5), F),
    (-0.2, NEAR, 0.3, (0, 0.5), F),
    (-0.2, NEAR, 0.0, None, F),
    (0.01, NEAR, -0.03, None, H),
    # category
    ("never", CATEGORIES, "rarely", None, H),
    ("never", CATEGORIES, "sometimes", None, D),
    ("never", CATEGORIES, "always", None, C),
    (None, {"holds": ["a"]}, "b", None, C),
    # sign
    (None, {"sign": "positive"}, 0.1, None, H),
    (None, {"sign": "positive"}, -0.1, None, C),
    (None, {"sign": "positive"}, 0, None, F),
    (None, {"sign": "positive"}, 0.1, (0.05, 0.2), H),
    (None, {"sign": "positive"}, 0.1, (0, 0.2), D),
    (None, {"sign": "positive"}, 0.1, (-0.1, 0.2), D),
    (None, {"sign": "positive"}, -0.1, (-0.2, 0.1), F),
    (None, {"sign": "positive"}, -0.1, (-0.2, 0), F),
    (None, {"sign": "positive"}, -0.1, (-0.2, -0.05), C),
    (None, {"sign": "positive"}, 0, (-0.1, 0.1), F),
    (None, {"sign": "negative"}, -0.1, (-0.2, -0.05), H),
    (None, {"sign": "negative"}, -0.1, (-0.2, 0), D),
    (None, {"sign": "negative"}, 0.1, (0, 0.2), F),
    (None, {"sign": "negative"}, 0.1, (0.05, 0.2), C),
    # bounds
    (None, {"at_least": 0.5}, 0.5, None, H),
    (None, {"at_least": 0.5}, 0.499, None, C),
    (None, {"at_least": 0.5}, 0.6, (0.5, 0.7), H),
    (None, {"at_least": 0.5}, 0.6, (0.4, 0.7), D),
    (None, {"at_least": 0.5}, 0.45, (0.4, 0.5), F),
    (None, {"at_least": 0.5}, 0.45, (0.4, 0.49), C),
    (None, {"at_most": 0.0}, 0.0, None, H),
    (None, {"at_most": 0.0}, -0.1, (-0.2, 0.1), D),
    (None, {"at_most": 0.0}, 0.1, (-0.1, 0.2), F),
    (None, {"at_most": 0.0}, 0.1, (0.05, 0.2), C),
    (None, {"at_most": Fraction(1, 3)}, Fraction(1, 3), None, H),
    (None, {"at_least": 1, "at_most": 2}, 1.5, (1, 2), H),
    (None, {"at_least": 1, "at_most": 2}, 1.5, (0.5, 2), D),
    (None, {"at_least": 1, "at_most": 2}, 2.5, None, C),
    # a sequence gets its worst element's verdict
    ((1, 2), EXACT, [1, 2], None, H),
    ((1, 2), EXACT, (1, 3), None, F),
    ((-1.0, 1.0), NEAR, [-1.0, -1.0], None, C),
    ((-1.0, 1.0), NEAR, [-1.2, 1.2], None, D),
    ((1.0, -1.0), NEAR, [1.0, 0.5], [(1, 1), (-1, 1)], F),
    (None, {"sign": "positive"}, np.array([0.1, 0.2]), None, H),
]


@pytest.mark.parametrize(("value", "tolerance", "found", "interval", "expected"), RULES)
def test_rule(value: Any, tolerance: dict[str, Any], found: Any, interval: Any, expected: str):
    assert judge(value, tolerance, found, interval) == expected


def test_every_verdict_is_reached_by_the_rules():
    assert {rule[-1] for rule in RULES} == set(VERDICTS) - {"not testable here"}


def test_rounding_comes_before_the_verdict():
    # 1e-9 outside the tolerance disappears in six digits, here and from the stored output alike.
    assert judge(1.0, {"abs": 0.05}, 1.05 + 1e-9) == H


@given(
    point=st.fractions(min_value=-3, max_value=3),
    width=st.fractions(min_value=0, max_value=3),
)
def test_sign_mirrors(point: Fraction, width: Fraction):
    ends = (point - width, point + width)
    mirrored = (-point - width, -point + width)
    positive = judge(None, {"sign": "positive"}, point, ends)
    assert positive == judge(None, {"sign": "negative"}, -point, mirrored)
    # Without an interval the point alone decides.
    assert judge(None, {"sign": "positive"}, point) == (H if point > 0 else C if point < 0 else F)


@given(value=st.floats(-1e6, 1e6), found=st.floats(-1e6, 1e6), slack=st.floats(0, 10))
def test_wider_tolerance_never_loses_a_hold(value: float, found: float, slack: float):
    if judge(value, {"abs": slack}, found) == H:
        assert judge(value, {"abs": 2 * slack}, found) == H


def test_nothing_reported_is_no_verdict():
    assert verdict(claim(1, EXACT), None) is None
    assert NOT_REPORTED not in VERDICTS


def test_out_of_reach():
    far = claim(basis="out of reach", reason="no data")
    assert verdict(far, None) == "not testable here"
    with pytest.raises(LedgerError, match="must not be reported"):
        verdict(far, Measurement.of("ch01.x", 1))


@pytest.mark.parametrize("control", [False, "", " "])
def test_control_that_did_not_fail_voids(control: Any):
    with pytest.raises(LedgerError, match="did not fail"):
        verdict(claim(1, EXACT, control="shuffled"), Measurement.of("ch01.x", 1, control=control))
    with pytest.raises(LedgerError, match="did not fail"):
        verdict(claim(1, EXACT), Measurement.of("ch01.x", 1, control=control))


def test_declared_control_must_be_reported():
    guarded = claim(1, EXACT, control="shuffled labels")
    with pytest.raises(LedgerError, match="shuffled labels"):
        verdict(guarded, Measurement.of("ch01.x", 1))
    for control in (True, np.bool_(True), "the shuffled labels lose"):
        assert verdict(guarded, Measurement.of("ch01.x", 1, control=control)) == H


@pytest.mark.parametrize(
    ("value", "tolerance", "found", "message"),
    [
        (True, EXACT, 1, "expected true or false"),
        (1, EXACT, True, "expected a number"),
        (1, {"abs": 1}, "monotone", "expected a number"),
        ("a", {"holds": ["a"]}, 1, "expected a category"),
        ("a", EXACT, True, "expected a category"),
        (None, {"sign": "positive"}, True, "expected a number"),
        ((1, 2), EXACT, [1, 2, 3], "expected 2 values"),
        ((1, 2), EXACT, 1, "expected 2 values"),
        (1, EXACT, [1], "expected one value"),
    ],
)
def test_wrong_kind_of_value(value: Any, tolerance: dict[str, Any], found: Any, message: str):
    with pytest.raises(LedgerError, match=message):
        judge(value, tolerance, found)


# ── values ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bad", [float("nan"), np.inf, None, 1j, {}, [], "", [[1]], [1, None]])
def test_refused_values(bad: Any):
    with pytest.raises(LedgerError, match=r"ch01\.x: value"):
        Measurement.of("ch01.x", bad)


@pytest.mark.parametrize("interval", [(2, 3), (0,), (0, 1, 2), 1, ("a", "b"), (float("nan"), 1)])
def test_refused_intervals(interval: Any):
    with pytest.raises(LedgerError, match="interval"):
        Measurement.of("ch01.x", 1, interval)
    with pytest.raises(LedgerError, match="one pair for each"):
        Measurement.of("ch01.x", [1, 2], [(0, 3)])


def test_refused_control():
    with pytest.raises(LedgerError, match="control is 1"):
        Measurement.of("ch01.x", 1, control=1)


def test_normalise():
    assert normalise(np.float64(1 / 3)) == 0.333333
    assert normalise(1 / 3, digits=2) == 0.33
    assert normalise(np.int64(7)) == 7
    assert normalise(np.bool_(True)) is True
    assert normalise(np.array(2.5)) == 2.5
    assert str(normalise(-0.0)) == "0.0"
    import sympy

    assert normalise(sympy.Rational(2, 6)) == Fraction(1, 3)


@pytest.mark.parametrize(
    "value", [True, 3, -0.25, Fraction(41, 12), "monotone", (1, Fraction(1, 3), "a", False)]
)
def test_stored_form_comes_back(value: Any):
    again = decode(json.loads(json.dumps(encode(value))))
    assert again == value
    assert type(again) is type(value)


def test_fraction_is_stored_exactly():
    assert encode(Fraction(41, 12)) == {"fraction": "41/12", "float": 3.41667}
    assert format_value(Fraction(4, 2)) == "2"


# ── reading claims ───────────────────────────────────────────────────────────────────────────

GOOD: dict[str, Any] = {
    "id": "ch01.a",
    "by": "paper",
    "source": "Theorem 1",
    "statement": "Refinement keeps $\\sum w p$.",
    "kind": "theorem",
    "basis": "exact",
    "value": True,
    "tolerance": {"exact": True},
}


def chapter(claims: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "chapter": "ch01_toy",
        "number": 1,
        "title": "Toy",
        "question": "Does it hold?",
        "paper": {"title": "On Toys", "authors": ["A. Author"], "arxiv": "2605.31036"},
        "claims": claims,
    } | more


def write(root: Path, data: dict[str, Any], slug: str = "ch01_toy") -> Path:
    path = root / "book" / slug / "claims.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    return root


def test_good_chapter(tmp_path: Path):
    more = [
        GOOD | {"id": "ch01.b", "value": "1/3", "by": "ours", "unit": "EUR"},
        GOOD | {"id": "ch01.c", "value": ["1/3", 0.5], "tolerance": {"abs": 0.1}},
    ]
    root = write(tmp_path, chapter([GOOD, *more], inputs=[0.5]))
    got = load_chapter("ch01_toy", root=root)
    assert [c.id for c in got.claims] == ["ch01.a", "ch01.b", "ch01.c"]
    assert got.claims[1].value == Fraction(1, 3)
    assert got.claims[2].value == (Fraction(1, 3), 0.5)
    assert load_all(root=root) == (got,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "ch02.a"}, "expected ch01.name"),
        ({"id": "ch01"}, "expected ch01.name"),
        ({"by": "them"}, "expected one of paper, ours"),
        ({"kind": "guess"}, "expected one of theorem"),
        ({"basis": "real"}, "expected one of exact"),
        ({"statement": ""}, "statement is ''"),
        ({"source": 3}, "source is 3"),
        ({"tolerence": {}}, "unknown key 'tolerence'"),
        ({"tolerance": None}, "tolerance: found None"),
        ({"tolerance": {}}, "tolerance: found"),
        ({"tolerance": {"aps": 1}}, "unknown key 'aps'"),
        ({"tolerance": {"exact": False}}, "expected true"),
        ({"tolerance": {"exact": True, "abs": 1}}, "do not go together"),
        ({"tolerance": {"abs": 0.1}}, "need a number"),
        ({"value": None}, "exact needs a value"),
        ({"value": float("nan")}, "finite"),
        ({"value": []}, "empty list"),
        ({"value": {"a": 1}}, "expected bool, number"),
        ({"value": 1, "tolerance": {"abs": -1}}, "abs is -1"),
        ({"value": 1, "tolerance": {"rel": True}}, "rel is True"),
        ({"value": 1, "tolerance": {"abs": 1, "sign": "positive"}}, "expected true beside"),
        ({"value": 0, "tolerance": {"abs": 1, "sign": True}}, "other than 0"),
        ({"value": "a", "tolerance": {"direction": ["a"]}}, "'holds' is missing"),
        ({"value": "a", "tolerance": {"holds": "a"}}, "list of texts"),
        ({"value": "a", "tolerance": {"holds": [True]}}, "list of texts"),
        ({"value": "a", "tolerance": {"holds": ["a"], "direction": ["a"]}}, "both"),
        ({"value": 1, "tolerance": {"holds": ["a"]}}, "categories need a text"),
        ({"value": None, "tolerance": {"sign": True}}, "negative or positive"),
        ({"value": "a", "tolerance": {"sign": "positive"}}, "number or null"),
        ({"value": 1, "tolerance": {"at_least": "x"}}, "at_least is 'x'"),
        ({"value": 1, "tolerance": {"at_least": 2, "at_most": 1}}, "exceeds"),
        ({"basis": "out of reach"}, "reason is None"),
        ({"reason": "why"}, "a reason belongs"),
    ],
)
def test_schema_errors(tmp_path: Path, change: dict[str, Any], message: str):
    with pytest.raises(LedgerError, match=message):
        load_chapter("ch01_toy", root=write(tmp_path, chapter([GOOD | change])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chapter": "ch01_other"}, "expected the folder's name"),
        ({"number": 2}, "number is 2"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"claims": []}, "expected a list of claims"),
        ({"claims": [GOOD, GOOD]}, "declared twice: ch01.a"),
        ({"inputs": ["a"]}, "list of numbers"),
        ({"paper": {"title": "T", "authors": "A", "arxiv": "2605.31036"}}, "list of names"),
        ({"paper": {"title": "T", "authors": ["A"], "arxiv": 2605.31036}}, "in quotes"),
        ({"paper": {"title": "T", "authors": ["A"], "arxiv": "2605"}}, "identifier"),
        ({"paper": {"title": "T"}}, "'authors' is missing"),
    ],
)
def test_chapter_errors(tmp_path: Path, change: dict[str, Any], message: str):
    with pytest.raises(LedgerError, match=message):
        load_chapter("ch01_toy", root=write(tmp_path, chapter([GOOD]) | change))


def test_missing_key_and_chapter(tmp_path: Path):
    bad = {k: v for k, v in GOOD.items() if k != "kind"}
    root = write(tmp_path, chapter([bad]))
    with pytest.raises(LedgerError, match="'kind' is missing"):
        load_chapter("ch01_toy", root=root)
    with pytest.raises(LedgerError, match="there are ch01_toy"):
        load_chapter("ch01_tory", root=root)


def test_yaml_traps(tmp_path: Path):
    path = write(tmp_path, chapter([GOOD])) / "book/ch01_toy/claims.yml"
    path.write_text(path.read_text() + "number: 1\n")
    with pytest.raises(LedgerError, match="key given twice: number"):
        load_chapter("ch01_toy", root=tmp_path)
    small = yaml.safe_dump(chapter([GOOD | {"value": 1.5, "tolerance": {"abs": "SMALL"}}]))
    path.write_text(small.replace("SMALL", "5e-05"))
    assert load_chapter("ch01_toy", root=tmp_path).claims[0].tolerance == {"abs": 5e-05}


def test_two_chapters_with_one_number(tmp_path: Path):
    write(tmp_path, chapter([GOOD]))
    write(tmp_path, chapter([GOOD], chapter="ch01_toys"), "ch01_toys")
    with pytest.raises(LedgerError, match="both have number 1"):
        load_all(root=tmp_path)


def test_the_books_own_files():
    entries = load_contents()
    assert [e.number for e in entries] == list(range(1, 11))
    assert len({e.slug for e in entries}) == 10
    arxiv = {e.slug: e.arxiv for e in entries}
    for written in load_all():
        assert written.paper.arxiv == arxiv[written.slug]


def test_contents_errors(tmp_path: Path):
    with pytest.raises(LedgerError, match="is missing"):
        load_contents(root=tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/chapters.yml").write_text("- {number: 1, slug: ch01_toy}\n")
    with pytest.raises(LedgerError, match="'title' is missing"):
        load_contents(root=tmp_path)


# ── reports and rows ─────────────────────────────────────────────────────────────────────────

CLAIMS = [
    GOOD | {"control": "an uncalibrated model"},
    GOOD | {"id": "ch01.b", "value": -0.2, "tolerance": {"abs": 0.05, "sign": True}},
    GOOD | {"id": "ch01.c", "by": "ours", "value": "41/12"},
    GOOD | {"id": "ch01.far", "basis": "out of reach", "reason": "No data.", "value": None},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path, chapter(CLAIMS))


def store(root: Path, name: str, *measurements: Measurement) -> Path:
    """Write a notebook whose stored outputs hold these measurements, one a cell."""
    cells = [nbformat.v4.new_markdown_cell("# Toy")]
    for i, measurement in enumerate(measurements, 1):
        data = {MIME: measurement.to_json(), "text/plain": "card"}
        output = nbformat.v4.new_output("display_data", data=data)
        cells.append(nbformat.v4.new_code_cell("report()", execution_count=i, outputs=[output]))
    path = root / "notebooks" / "ch01_toy" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


A = Measurement.of("ch01.a", True, control="it broke")
B = Measurement.of("ch01.b", -0.4, (-0.5, -0.3))


def test_round_trip(root: Path):
    store(root, "01_one", A, B)
    store(root, "02_two", Measurement.of("ch01.c", Fraction(41, 12)))
    rows = {row.claim.id: row for row in collect(root=root)}
    assert {i: r.verdict for i, r in rows.items()} == {
        "ch01.a": H,
        "ch01.b": D,
        "ch01.c": H,
        "ch01.far": "not testable here",
    }
    assert rows["ch01.b"].measurement == B
    assert (rows["ch01.b"].notebook, rows["ch01.b"].cell) == ("notebooks/ch01_toy/01_one.ipynb", 2)
    assert rows["ch01.b"].url == "notebooks/ch01_toy/01_one.html#claim-ch01.b"
    assert rows["ch01.c"].measured == Fraction(41, 12)
    assert check(root=root) == []


def test_no_verdict_is_stored(root: Path):
    text = store(root, "01_one", A, B).read_text()
    assert not any(v in text for v in VERDICTS)


def test_verdict_follows_the_declaration(root: Path):
    store(root, "01_one", A, B)
    wide = [CLAIMS[1] | {"tolerance": {"abs": 0.2}} if c is CLAIMS[1] else c for c in CLAIMS]
    write(root, chapter(wide))
    assert collect(root=root)[1].verdict == H


def test_unreported(root: Path):
    store(root, "01_one", A)
    assert [row.label for row in collect(root=root)] == [
        H,
        NOT_REPORTED,
        NOT_REPORTED,
        VERDICTS[-1],
    ]
    problems = check(root=root)
    assert len(problems) == 2
    assert "ch01.b: no notebook reports it" in problems


@pytest.mark.parametrize(
    ("measurement", "message"),
    [
        (A, "ch01.a: reported 2 times, in notebooks/ch01_toy/01_one.ipynb cell 1 and"),
        (Measurement.of("ch01.z", 1), "02_two.ipynb cell 1, but no chapter declares it"),
        (Measurement.of("ch01.b", "text"), "02_two.ipynb cell 1: ch01.b: reported 'text'"),
        (Measurement.of("ch01.far", 1), "must not be reported"),
    ],
)
def test_bad_reports(root: Path, measurement: Measurement, message: str):
    store(root, "01_one", A)
    store(root, "02_two", measurement)
    with pytest.raises(LedgerError, match=message):
        collect(root=root)
    assert any(message in problem for problem in check(root=root))


def test_control_added_later_voids_stored_result(root: Path):
    store(root, "01_one", Measurement.of("ch01.a", True))
    assert any("declares a control" in problem for problem in check(root=root))


def test_unreadable_notebooks(root: Path):
    path = store(root, "01_one", A)
    path.write_text(path.read_text().replace('"value": true', '"valeur": true'))
    with pytest.raises(LedgerError, match="cell 1: stored claim"):
        collect(root=root)
    path.write_text("{" + MIME)
    with pytest.raises(LedgerError, match="not a readable notebook"):
        collect(root=root)


def test_chapter_filter(root: Path):
    second = GOOD | {"id": "ch02.a"}
    write(root, chapter([second], chapter="ch02_toy", number=2), "ch02_toy")
    assert [r.claim.id for r in collect(root=root, chapter="ch02_toy")] == ["ch02.a"]
    assert len(collect(root=root)) == 5
    with pytest.raises(LedgerError, match="no chapter 'ch03'"):
        collect(root=root, chapter="ch03")


def test_report_prints_outside_a_notebook(root: Path, capsys: pytest.CaptureFixture[str]):
    assert report("ch01.b", -0.4, (-0.5, -0.3), root=root) is None
    out = capsys.readouterr().out
    assert out.startswith("[holds in direction] ch01.b (Theorem 1)")
    assert "measured: -0.4; interval: [-0.5, -0.3]; paper: -0.2; holds if: within ±0.05" in out


def test_report_refuses(root: Path):
    with pytest.raises(UnknownClaimError, match=r"'ch01\.d'; did you mean ch01\.") as error:
        report("ch01.d", 1, root=root)
    assert isinstance(error.value, KeyError)
    with pytest.raises(LedgerError, match="finite"):
        report("ch01.b", float("nan"), root=root)
    with pytest.raises(LedgerError, match="did not fail"):
        report("ch01.a", True, control=False, root=root)


def test_report_in_ipython(root: Path, monkeypatch: pytest.MonkeyPatch):
    import IPython
    import IPython.display

    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: object())
    monkeypatch.setattr(IPython.display, "display", lambda bundle, raw: shown.append(bundle))
    report("ch01.a", np.bool_(True), control="<it> broke", root=root)
    (bundle,) = shown
    assert bundle[MIME] == {
        "id": "ch01.a",
        "value": True,
        "interval": None,
        "control": "<it> broke",
    }
    assert 'id="claim-ch01.a"' in bundle["text/html"]
    assert "&lt;it&gt; broke" in bundle["text/html"]
    assert '<span class="math inline">\\(\\sum w p\\)</span>' in bundle["text/html"]
    assert bundle["text/plain"].startswith("[holds]")


# ── command line ─────────────────────────────────────────────────────────────────────────────


def test_cli_json(root: Path, capsys: pytest.CaptureFixture[str]):
    store(root, "01_one", A, B)
    assert main(["--json", "--root", str(root), "--chapter", "ch01_toy"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["verdict"] for r in rows] == [H, D, None, "not testable here"]
    assert rows[1] == {
        "chapter": "ch01_toy",
        "id": "ch01.b",
        "by": "paper",
        "source": "Theorem 1",
        "statement": "Refinement keeps $\\sum w p$.",
        "kind": "theorem",
        "basis": "exact",
        "reason": None,
        "paper_value": -0.2,
        "expected_value": None,
        "measured_value": -0.4,
        "interval": [-0.5, -0.3],
        "unit": None,
        "tolerance": {"abs": 0.05, "sign": True},
        "verdict": D,
        "control": None,
        "control_evidence": None,
        "notebook": "notebooks/ch01_toy/01_one.ipynb",
        "cell": 2,
        "url": "notebooks/ch01_toy/01_one.html#claim-ch01.b",
    }
    assert rows[2]["paper_value"] is None
    assert rows[2]["expected_value"] == {"fraction": "41/12", "float": 3.41667}


def test_cli_table_and_check(root: Path, capsys: pytest.CaptureFixture[str]):
    store(root, "01_one", A, B)
    assert main(["--table", "--root", str(root)]) == 0
    out = capsys.readouterr().out
    assert "4 rows: 1 holds, 1 holds in direction, 1 not testable here, 1 not reported" in out
    assert main(["--check", "--root", str(root)]) == 1
    assert "ch01.c: no notebook reports it" in capsys.readouterr().out
    store(root, "02_two", Measurement.of("ch01.c", 1))
    assert main(["--check", "--root", str(root)]) == 0
    store(root, "03_three", A)
    assert main(["--json", "--root", str(root)]) == 1


def test_cli_imports_nothing_heavy():
    code = (
        "import sys; from lib.core.ledger.__main__ import main; main(['--json']); "
        "print([m for m in ('IPython', 'pandas', 'torch', 'numpy', 'nbformat', 'sphinx') "
        "if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_declared_control_is_typeset_on_the_card_and_evidence_is_not():
    from dataclasses import replace

    from lib.core.ledger.claims import find_claim
    from lib.core.ledger.reporting import _card
    from lib.core.ledger.values import Measurement

    claim = replace(find_claim("ch01.ours.ceiling.fppe"), control=r"the bound $\kappa=1$")
    declared = _card(claim, Measurement.of(claim.id, True, None, True), "holds")
    assert r"\(\kappa=1\)" in declared
    evidence = _card(claim, Measurement.of(claim.id, True, None, "a_b_c < $2$"), "holds")
    assert "a_b_c &lt; $2$" in evidence
