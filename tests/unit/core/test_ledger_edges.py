"""The ledger at the edges of its rules: ties, single elements, order, and what it says exactly."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from smallbook import CHAPTER, CLAIM, store, write

from lib.core import ledger
from lib.core.ledger import (
    MIME,
    Claim,
    LedgerError,
    Measurement,
    UnknownClaimError,
    check,
    collect,
    load_all,
    load_chapter,
    load_contents,
    verdict,
)
from lib.core.ledger import __main__ as command
from lib.core.ledger.claims import chapter_slugs, find_claim
from lib.core.ledger.findings import load_findings, measured
from lib.core.ledger.reporting import _rounded, facts, within
from lib.core.ledger.rows import Row, as_json, notebook_paths, tally, tally_by
from lib.core.ledger.values import (
    DIGITS,
    NOISE_FREE,
    encode,
    format_interval,
    format_measured,
    normalise,
)
from lib.core.ledger.verdicts import VERDICTS, allowance, judge, worst
from lib.core.notebooks import ExecutionError


def claim(value: Any = None, tolerance: dict[str, Any] | None = None, **more: Any) -> Claim:
    fields: dict[str, Any] = {"id": "ch01.x", "by": "paper", "source": "T. 1", "statement": "S."}
    fields |= {"kind": "number", "basis": "exact", "value": value, "tolerance": tolerance or {}}
    return Claim(**(fields | more))


def chapter(root: Path, *claims: dict[str, Any], slug: str = "ch01_toy", **more: Any) -> Path:
    data = CHAPTER | {"claims": list(claims) or [CLAIM], "chapter": slug} | more
    write(root, f"book/{slug}/claims.yml", yaml.safe_dump(data, allow_unicode=True))
    return root


def loaded(root: Path, **changes: Any) -> Claim:
    (found,) = load_chapter("ch01_toy", root=chapter(root, CLAIM | changes)).claims
    return found


# --- reading --------------------------------------------------------------------------------------

BOUND = {"value": None, "control": "a coin"}


def test_both_bounds_may_be_one_number(tmp_path: Path) -> None:
    for low, high in ((1, 1), (1, 2), (-2, -1)):
        tolerance = {"at_least": low, "at_most": high}
        assert loaded(tmp_path, **BOUND, tolerance=tolerance).tolerance == tolerance
    with pytest.raises(LedgerError, match=r"at_least 1 exceeds at_most 0\.999"):
        loaded(tmp_path, **BOUND, tolerance={"at_least": 1, "at_most": 0.999})
    # One bound alone may be any number.
    for alone in ({"at_most": -3}, {"at_least": 3}, {"at_least": "1/3"}):
        assert set(loaded(tmp_path, **BOUND, tolerance=alone).tolerance) == set(alone)


def test_a_tolerance_of_nothing_is_one(tmp_path: Path) -> None:
    for tolerance in ({"abs": 0}, {"rel": 0}, {"abs": 0.5, "rel": 0}):
        assert loaded(tmp_path, tolerance=tolerance, control="c").tolerance == tolerance


def test_a_blank_text_is_none_where_none_is_needed(tmp_path: Path) -> None:
    found = loaded(tmp_path, unit="  ", control=" ", measured_before="")
    assert (found.unit, found.control, found.measured_before) == ("", "", "")
    assert loaded(tmp_path, unit=" EUR ", measured_before=" a trial ").unit == "EUR"
    assert (found.labels, found.null, found.control_of, found.reason) == ((), None, "", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claims": [3]}, "claims.yml: claim 1: found 3; expected keys with values"),
        ({"claims": [CLAIM, {"by": "paper"}]}, "claims.yml: claim 2: key 'id' is missing"),
        ({"claims": {"a": 1}}, "claims is {'a': 1}; expected a list of claims"),
        ({"number": "1"}, "number is '1'; the folder is 'ch01_toy'"),
        ({"title": " "}, "title is ' '; expected text"),
        ({"question": None}, "question is None; expected text"),
        ({"paper": [1]}, r"paper: found \[1\]; expected keys"),
        ({"trained": {"a--b": {"abs": 1, "why": "w"}}}, "trained a--b: expected a name"),
    ],
)
def test_where_a_file_is_wrong(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write(tmp_path, "book/ch01_toy/claims.yml", yaml.safe_dump(CHAPTER | changes))
    with pytest.raises(LedgerError, match=message):
        load_chapter("ch01_toy", root=tmp_path)


def test_what_is_read_of_a_paper(tmp_path: Path) -> None:
    paper = {"title": " On Toys", "authors": ["A", "B"], "arxiv": "2605.31036", "venue": "Fair"}
    text = yaml.safe_dump(CHAPTER | {"claims": [CLAIM], "paper": paper, "inputs": None})
    write(tmp_path, "book/ch01_toy/claims.yml", text.replace("venue: Fair", "date: 2026-05-01"))
    found = load_chapter("ch01_toy", root=tmp_path)
    assert (found.paper.title, found.paper.authors) == ("On Toys", ("A", "B"))
    assert (found.paper.date, found.paper.venue, found.paper.licence) == ("2026-05-01", "", "")
    assert (found.inputs, found.trained) == ((), {})
    write(tmp_path, "book/ch01_toy/claims.yml", text)
    assert load_chapter("ch01_toy", root=tmp_path).paper.venue == "Fair"


def test_keys_that_are_lists_are_no_double_and_text_is_no_key(tmp_path: Path) -> None:
    for text, message in (
        ("? [a]\n: 1\n? [b]\n: 2\n", "not readable as YAML: .*unhashable key"),
        ("a: 1\na: 2\na: 3\n", "key given twice: a"),
        ("just words", "found 'just words'; expected keys"),
    ):
        write(tmp_path, "book/ch01_toy/claims.yml", text)
        with pytest.raises(LedgerError, match=f"(?s){message}"):
            load_chapter("ch01_toy", root=tmp_path)


def test_chapters_come_by_number_and_claims_from_their_own(tmp_path: Path) -> None:
    chapter(tmp_path, CLAIM | {"id": "ch10.a"}, slug="ch10_ten", number=10)
    chapter(tmp_path, CLAIM | {"id": "ch02.a"}, slug="ch02_two", number=2)
    chapter(tmp_path, CLAIM)
    write(tmp_path, "book/ch03_planned/index.md", "")
    assert [one.number for one in load_all(root=tmp_path)] == [1, 2, 10]
    assert chapter_slugs(tmp_path) == ["ch01_toy", "ch02_two", "ch10_ten"]
    assert find_claim("ch10.a", root=tmp_path).id == "ch10.a"
    with pytest.raises(LedgerError, match=r"there are ch01_toy, ch02_two, ch10_ten$"):
        load_chapter("ch03_planned", root=tmp_path)
    with pytest.raises(LedgerError, match=r"there are none$"):
        load_chapter("ch01_toy", root=tmp_path / "nowhere")


def test_three_names_that_come_close(tmp_path: Path) -> None:
    chapter(tmp_path, *(CLAIM | {"id": f"ch01.part{i}"} for i in range(5)))
    with pytest.raises(UnknownClaimError) as caught:
        find_claim("ch01.part", root=tmp_path)
    said = str(caught.value)
    assert said.startswith("no chapter declares a claim 'ch01.part'; did you mean ch01.part")
    assert said.count("ch01.part") == 4
    with pytest.raises(UnknownClaimError, match=r"declare it in claims.yml first"):
        find_claim("zz.unlike", root=tmp_path)


def test_the_contents_come_by_number(tmp_path: Path) -> None:
    words = {"title": "T", "arxiv": "2605.31036", "question": "Q?"}
    lines = [{"number": n, "slug": f"ch{n:02d}_x"} | words for n in (3, 1, 2)]
    write(tmp_path, "data/chapters.yml", yaml.safe_dump(lines))
    assert [one.number for one in load_contents(root=tmp_path)] == [1, 2, 3]
    for number in ("1", 1.0, None):
        write(tmp_path, "data/chapters.yml", yaml.safe_dump([lines[0] | {"number": number}]))
        with pytest.raises(LedgerError, match=f"chapter 1: number is {number!r}; expected an int"):
            load_contents(root=tmp_path)
    write(tmp_path, "data/chapters.yml", yaml.safe_dump([lines[0], {"number": 1}]))
    with pytest.raises(LedgerError, match=r"chapters.yml: chapter 2: key 'slug' is missing"):
        load_contents(root=tmp_path)
    write(tmp_path, "data/chapters.yml", "# none yet\n")
    assert load_contents(root=tmp_path) == ()


FINDING = {"id": "f", "sentence": "S.", "rows": ["ch01.a"], "direction": False, "scope": "s"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": ["ch01.a", 3]}, "expected a list of claim ids"),
        ({"headline": {"words": "W.", "numbers": ["a", "b"]}}, "expected two texts with a claim"),
        ({"headline": {"words": "W.", "numbers": {"a": "b", "c": "d", "e": "f"}}}, "two texts"),
        ({"headline": {"words": "W.", "numbers": {"a": "ch01.a", "b": ""}}}, "b is ''"),
        ({"direction": 1}, "direction is 1; expected true or false"),
        ({"budget": 3}, "budget is 3; expected text"),
    ],
)
def test_what_a_finding_may_not_be(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write(tmp_path, "book/ch01_toy/findings.yml", yaml.safe_dump([FINDING, FINDING | changes]))
    with pytest.raises(LedgerError, match=f"finding 2: f: .*{message}"):
        load_findings("ch01_toy", root=tmp_path)


def test_what_a_finding_may_leave_out(tmp_path: Path) -> None:
    numbers = {"with": "ch01.a", "without": "ch01.b:left"}
    more = FINDING | {"id": "g", "headline": {"words": "W.", "numbers": numbers}}
    write(tmp_path, "book/ch01_toy/findings.yml", yaml.safe_dump([FINDING, more], sort_keys=False))
    one, two = load_findings("ch01_toy", root=tmp_path)
    assert (one.budget, one.figure, one.headline) == ("", None, None)
    assert two.headline is not None
    assert two.headline.numbers == (("with", "ch01.a"), ("without", "ch01.b:left"))


# --- values and verdicts --------------------------------------------------------------------------


def test_digits() -> None:
    assert (DIGITS, NOISE_FREE) == (6, 12)
    assert normalise(1.23456789) == 1.23457
    assert Measurement.of("ch01.x", 1.23456789012345).value == 1.23456789012
    assert encode((Fraction(2, 3), 1)) == [{"fraction": "2/3", "float": 0.666667}, 1]


def test_lists_of_one_element() -> None:
    assert format_interval(((0, 1),)) == "[0, 1]"
    assert format_measured((1,), ((0, 2),), ("a",)) == "a: 1 [0, 2]"
    found = Measurement.of("ch01.x", [0.5], [(0.4, 0.6)])
    assert verdict(claim((0.55,), {"abs": 0.1}), found) == "holds"
    assert judge(claim((0.7,), {"abs": 0.1}), (0.5,), ((0.4, 0.6),)) == ("inconclusive",)


def test_as_many_labels_and_pairs_as_values() -> None:
    for value, pairs in (((1, 2, 3), None), ((1, 2), ((0, 1), (1, 2), (2, 3)))):
        with pytest.raises(ValueError, match=r"zip\(\)"):
            format_measured(value, pairs, ("a", "b"))
    with pytest.raises(ValueError, match=r"zip\(\)"):
        judge(claim((1, 2), {"abs": 1}), (1, 2), ((0, 3),))


def test_as_many_numbers_in_prose_as_were_measured() -> None:
    told = claim((1, 2), {"abs": 1}, labels=("a", "b"))
    for found in (
        Measurement("ch01.x", (1, 2, 3)),
        Measurement("ch01.x", (1, 2), ((0, 1), (1, 2), (2, 3))),
    ):
        with pytest.raises(ValueError, match=r"zip\(\)"):
            measured(Row("ch01_toy", told, found, "holds"))
    bare = claim((1, 2), {"abs": 1})
    assert measured(Row("ch01_toy", bare, Measurement("ch01.x", (1, 2)), "holds")) == "1, 2"


def test_the_package_lends_names_of_rows_and_no_others() -> None:
    assert ledger.collect is collect
    assert ledger.Row is Row
    with pytest.raises(AttributeError, match=r"'lib\.core\.ledger' has no attribute 'nothing'"):
        _ = ledger.nothing


def test_one_sentence_among_outcomes_is_a_sentence() -> None:
    told = claim(("up", "up"), {"holds": ["up"]}, control="a coin")
    assert verdict(told, Measurement.of("ch01.x", ["up", "up"], control=["down", "d" * 40])) == (
        "holds"
    )
    for control in (["down", "d" * 41], ["d" * 41, "down"]):
        with pytest.raises(LedgerError, match="expected a measured outcome, not a sentence"):
            verdict(told, Measurement.of("ch01.x", ["up", "up"], control=control))


def test_how_far_a_number_may_lie() -> None:
    assert allowance({"abs": 0.05}, 100) == Fraction(1, 20)
    assert allowance({"rel": 0.05}, -100) == 5
    assert allowance({"exact": True}, 100) == 0
    assert worst(["holds", "differs", "holds in direction"]) == "differs"
    assert VERDICTS[0] == "holds"
    assert VERDICTS[-1] == "not testable here"
    assert len(VERDICTS) == 6


def test_which_floats_are_judged_by_their_distance() -> None:
    near = claim((1, 2, 3, 4), {"rel": 0.1})
    found = Measurement.of("ch01.x", [1.5, 2, 0.0, Fraction(1, 3)])
    assert within(near, found) == [(1.5, Fraction(1, 10))]
    assert within(claim(1.0, {"abs": 0}), Measurement.of("ch01.x", 1.5)) == []
    assert within(claim(None, {"sign": "positive"}), Measurement.of("ch01.x", 1.5)) == []
    assert within(claim(2, {"abs": 0.5}), Measurement.of("ch01.x", 1.5)) == [(1.5, Fraction(1, 2))]


def test_a_rounding_that_will_not_do_is_followed_by_the_next() -> None:
    third = claim(Fraction(1, 3), {"abs": 0.001})
    measured = Measurement.of("ch01.x", Fraction(1, 3), (0.3, 0.333341234))
    # With three and four digits the interval would end below the value.
    assert _rounded(third, measured, "holds", 3).interval == (0.3, 0.33334)
    assert _rounded(third, measured, "holds", 8).interval == (0.3, 0.33334123)
    assert _rounded(third, measured, "holds", 12) is measured


def test_units_in_what_is_stored_for_readers() -> None:
    euro = claim(1, {"abs": 0.5}, unit="EUR")
    found = Measurement.of("ch01.x", 1, (0, 2), 3)
    assert facts(euro, found) == [
        ("measured", "1 [0, 2] EUR"),
        ("control", "3 EUR"),
        ("holds if", "within ±0.5"),
    ]
    assert facts(claim(1), Measurement.of("ch01.x", 1)) == [("measured", "1"), ("holds if", "")]


# --- rows -----------------------------------------------------------------------------------------


def test_notebooks_without_claims_and_outputs_without_any(tmp_path: Path) -> None:
    root = chapter(tmp_path, CLAIM, CLAIM | {"id": "ch01.b"})
    store(root, "00_none")
    store(root, "01_one", Measurement.of("ch01.a", Fraction(3, 2)))
    write(root, "notebooks/.ipynb_checkpoints/02_old.ipynb", "no notebook " + MIME)
    # The claim stands behind an output of another kind, in the last of the cells.
    path = root / "notebooks/ch01_toy/01_one.ipynb"
    content = nbformat.read(path, as_version=4)
    content.cells[1].outputs.insert(0, nbformat.v4.new_output("stream", text="words"))
    content.cells.insert(1, nbformat.v4.new_code_cell("1", id="more", outputs=[]))
    nbformat.write(content, path)
    store(root, "02_two", Measurement.of("ch01.b", Fraction(3, 2)))
    names = ["00_none", "01_one", "02_two"]
    assert [one.stem for one in notebook_paths(root)] == names
    first, second = collect(root=root)
    assert (first.notebook, first.cell) == ("notebooks/ch01_toy/01_one.ipynb", 2)
    assert (second.notebook, second.cell) == ("notebooks/ch01_toy/02_two.ipynb", 1)


def test_a_wrong_report_hides_no_other_one(tmp_path: Path) -> None:
    root = chapter(tmp_path, CLAIM, CLAIM | {"id": "ch01.b"}, CLAIM | {"id": "ch01.c"})
    store(root, "01_one", Measurement.of("ch01.a", "words"), Measurement.of("ch01.b", 1.5))
    store(root, "02_two", Measurement.of("ch01.b", 1.5), Measurement.of("ch01.z", 1))
    assert check(root=root) == [
        "notebooks/ch01_toy/01_one.ipynb cell 1: ch01.a: reported 'words'; expected a number",
        "ch01.b: reported 2 times, in notebooks/ch01_toy/01_one.ipynb cell 2 and "
        "notebooks/ch01_toy/02_two.ipynb cell 1",
        "ch01.z: reported in notebooks/ch01_toy/02_two.ipynb cell 2, but no chapter declares it",
        "ch01.c: no notebook reports it",
    ]
    with pytest.raises(LedgerError) as caught:
        collect(root=root)
    assert str(caught.value).splitlines() == check(root=root)[:3]


def test_one_chapter_of_several(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        one = CLAIM | {"id": f"ch{number:02d}.a"}
        chapter(tmp_path, one, slug=f"ch{number:02d}_toy", number=number)
    assert [row.chapter for row in collect(root=tmp_path, chapter="ch02_toy")] == ["ch02_toy"]
    assert check(root=tmp_path, chapter="ch03_toy") == ["ch03.a: no notebook reports it"]
    assert len(check(root=tmp_path)) == 3


def test_rows_as_text_for_programs() -> None:
    told = claim((1, 2), {"abs": 1}, labels=("ä", "b"), null=None, unit="€")
    row = Row("ch01_toy", told, Measurement.of("ch01.x", [1, 2]), "holds", "notebooks/a/b.ipynb", 0)
    text = as_json([row])
    assert text.startswith('{\n "counts": {\n  "paper": {\n   "holds": 1\n  },\n  "ours": {}\n }')
    assert '"labels": [\n    "ä",' in text
    found = json.loads(text)["rows"][0]
    assert (found["unit"], found["cell"], found["null"]) == ("€", 0, None)
    assert found["url"] == "notebooks/a/b.html#claim-ch01.x"
    bare = Row("ch01_toy", claim(1), None, None)
    assert [bare.to_json()[key] for key in ("notebook", "cell", "url", "verdict")] == [None] * 4
    assert tally([row, bare, row]) == {"holds": 2, "not reported": 1}
    assert list(tally_by([bare, row])["paper"]) == ["holds", "not reported"]


# --- the command line -----------------------------------------------------------------------------


def test_the_table_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exact = {"kind": "property", "tolerance": {"exact": True}, "control": "a coin"}
    root = chapter(
        tmp_path,
        CLAIM | exact | {"value": "a" * 44},
        CLAIM | exact | {"id": "ch01.long", "value": "b" * 45},
        CLAIM | {"id": "ch01.n", "value": 2},
    )
    store(root, "01_one", Measurement.of("ch01.a", "a" * 44, control="no"))
    assert command.main(["--table", "--root", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"verdict       id         basis  {'claimed':<44}  measured",
        f"holds         ch01.a     exact  {'a' * 44}  {'a' * 44}",
        f"not reported  ch01.long  exact  {'b' * 43}…  —",
        f"not reported  ch01.n     exact  {'2':<44}  —",
        "paper: 3 rows: 1 holds, 2 not reported",
        "ours: 0 rows",
    ]


def test_the_command_and_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = chapter(tmp_path)
    place = ["--root", str(root)]
    assert command.main(["--check", *place]) == 1
    assert capsys.readouterr().out == "ch01.a: no notebook reports it\n"
    store(root, "01_one", Measurement.of("ch01.a", 1.5))
    assert command.main(["--check", *place, "--chapter", "ch01_toy"]) == 0
    assert capsys.readouterr().out == "every claim has one measurement\n"
    assert command.main(["--table", *place, "--chapter", "ch09_none"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("no chapter 'ch09_none' with a claims.yml")
    for given in ([], ["--json", "--table"], ["--prove"]):
        with pytest.raises(SystemExit) as stop:
            command.main([*given, *place])
        assert stop.value.code == 2
    capsys.readouterr()

    def broken(*given: Any, **options: Any) -> Any:
        raise ExecutionError("a traceback\nof three\nlines\nKeyError: 'x'\n")

    from lib.core.ledger import proving

    monkeypatch.setattr(proving, "prove", broken)
    assert command.main(["--prove", "ch01.a", *place]) == 1
    assert capsys.readouterr().out == "ch01.a: its notebook did not run: KeyError: 'x'\n"
    for same, status in ((True, 0), (False, 1)):
        monkeypatch.setattr(proving, "prove", lambda id, root, same=same: (f"{id} told", same))
        assert command.main(["--prove", "ch01.a", *place]) == status
        assert capsys.readouterr().out == "ch01.a told\n"
