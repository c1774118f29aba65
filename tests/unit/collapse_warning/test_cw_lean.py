"""Lean accepts the proofs, rejects the false ones, and z3's models are checked."""

import itertools
import shutil
import subprocess
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from lib.collapse_warning import lean
from lib.collapse_warning.countermodels import HYPOTHESES, Order, find_order


@pytest.fixture(scope="module")
def _lean_runs():
    try:
        lean.version()
    except lean.LeanUnavailableError as error:
        pytest.skip(str(error))


needs_lean = pytest.mark.usefixtures("_lean_runs")


@needs_lean
@pytest.mark.parametrize("file", sorted(lean.PROOFS.glob("*.lean")), ids=lambda f: f.stem)
def test_proofs_are_accepted_without_axioms(file):
    result = lean.check(file)
    assert result.ok, result.reason
    assert result.axioms
    assert result.reason == ""


@needs_lean
@pytest.mark.parametrize(
    "file", sorted((lean.PROOFS / "false").glob("*.lean")), ids=lambda f: f.stem
)
def test_false_proofs_are_rejected(file):
    result = lean.check(file)
    assert not result.ok
    assert result.reason


@needs_lean
def test_an_axiom_exits_with_zero_and_is_named():
    result = lean.check(lean.PROOFS / "false" / "injected_axiom.lean")
    assert result.exit_code == 0
    assert result.axioms == {"injected_axiom": ("trust_me",)}


@needs_lean
def test_a_file_that_asks_about_nothing_is_rejected():
    assert not lean.check("prelude\ninductive Absurd : Prop\n").ok


@needs_lean
def test_bad_calls():
    with pytest.raises(ValueError, match="empty"):
        lean.check("  ")
    with pytest.raises(ValueError, match="more than 0"):
        lean.check("prelude", timeout_s=0)
    with pytest.raises(FileNotFoundError):
        lean.check(lean.PROOFS / "nothing.lean")
    with pytest.raises(lean.LeanTimeoutError):
        lean.check("prelude", timeout_s=0.001)


def test_another_platform_is_named(monkeypatch):
    monkeypatch.setattr(lean.platform, "libc_ver", lambda: ("glibc", "2.31"))
    with pytest.raises(lean.LeanUnavailableError, match=r"needs glibc 2\.35"):
        lean.check("prelude")


@pytest.mark.parametrize("drop", HYPOTHESES)
def test_each_hypothesis_is_needed(drop):
    model = find_order(drop)
    assert model is not None
    assert [model.holds(one) for one in HYPOTHESES] == [one != drop for one in HYPOTHESES]


def test_with_all_hypotheses_there_is_no_model():
    assert find_order() is None
    assert find_order(size=5) is None


class Engine(NamedTuple):
    """A finite engine: the state after each state, and which states miss."""

    following: tuple[int, ...]
    misses: tuple[bool, ...]

    def run(self, start: int, steps: int) -> list[bool]:
        state, seen = start, []
        for _ in range(steps):
            seen.append(self.misses[state])
            state = self.following[state]
        return seen


@st.composite
def engines(draw, frozen):
    """A random engine of up to seven states; `frozen` says whether a miss may move on."""
    size = draw(st.integers(1, 7))
    misses = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    to = draw(st.lists(st.integers(0, size - 1), min_size=size, max_size=size))
    following = [s if frozen and misses[s] else to[s] for s in range(size)]
    return Engine(tuple(following), tuple(misses)), draw(st.integers(0, size - 1))


def recovers(engine, start):
    seen = engine.run(start, 20)
    return any(before and not after for before, after in itertools.pairwise(seen))


@given(engines(frozen=True))
def test_no_random_engine_with_frozen_misses_recovers(case):
    assert not recovers(*case)


def test_among_random_engines_without_frozen_misses_some_recover():
    case = find(engines(frozen=False), lambda one: recovers(*one))
    assert case[0].misses[case[1]]


def test_bad_hypotheses_are_refused():
    with pytest.raises(ValueError, match="expected one of"):
        find_order("luck")
    with pytest.raises(ValueError, match="at least 3"):
        find_order(size=2)
    with pytest.raises(ValueError, match="expected one of"):
        Order(np.eye(3, dtype=bool)).holds("luck")


COQ = """
Theorem obstruction (P : Type) (le : P -> P -> Prop)
  (trans : forall x y z, le x y -> le y z -> le x z) (x y z : P)
  (strict : le y x -> False) (yz : le y z) (zx : le z x) : False.
Proof. exact (strict (trans y z x yz zx)). Qed.

Inductive path (P : Type) (le : P -> P -> Prop) : P -> P -> Prop :=
  | stop : forall x, path P le x x
  | step : forall x y z, le x y -> path P le y z -> path P le x z.

Theorem cycle (P : Type) (le : P -> P -> Prop) (refl : forall x, le x x)
  (trans : forall x y z, le x y -> le y z -> le x z) (x y : P)
  (strict : le y x -> False) (back : path P le y x) : False.
Proof.
  apply strict. clear strict.
  induction back as [a | a b c first rest known]; [apply refl | exact (trans a b c first known)].
Qed.

Theorem bridge (S P : Type) (le : P -> P -> Prop)
  (trans : forall x y z, le x y -> le y z -> le x z) (mu : S -> P) (x y z : S)
  (strict : le (mu y) (mu x) -> False) (yz : le (mu y) (mu z)) (zx : le (mu z) (mu x)) : False.
Proof. exact (strict (trans (mu y) (mu z) (mu x) yz zx)). Qed.

Fixpoint after (S : Type) (next : S -> S) (s : S) (n : nat) : S :=
  match n with O => s | Datatypes.S k => next (after S next s k) end.

Theorem absorbing (S : Type) (next : S -> S) (miss : S -> Prop)
  (frozen : forall s, miss s -> next s = s) (s : S) (m : miss s) (n : nat) :
  after S next s n = s.
Proof. induction n as [|n known]; simpl; [reflexivity | rewrite known; exact (frozen s m)]. Qed.
Print Assumptions obstruction.
Print Assumptions cycle.
Print Assumptions bridge.
Print Assumptions absorbing.
"""


FALSE = """
Theorem no_transitivity (P : Type) (le : P -> P -> Prop) (x y z : P)
  (strict : le y x -> False) (yz : le y z) (zx : le z x) : False.
Proof. exact (strict yz). Qed.
"""
AXIOM = """
Axiom trust_me : False.
Theorem injected (P : Prop) : P.
Proof. exact (False_ind P trust_me). Qed.
Print Assumptions injected.
"""


@pytest.mark.skipif(shutil.which("coqc") is None, reason="coqc is not installed (Debian: coq)")
def test_a_second_kernel_agrees(tmp_path):
    def coq(source):
        (tmp_path / "proofs.v").write_text(source)
        return subprocess.run(
            ["coqc", "proofs.v"], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    done = coq(COQ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Closed under the global context") == 4
    assert coq(FALSE).returncode != 0
    # As with Lean, an axiom passes by the exit status and is named by the list.
    smuggled = coq(AXIOM)
    assert smuggled.returncode == 0
    assert "trust_me" in smuggled.stdout
    assert "Closed" not in smuggled.stdout
