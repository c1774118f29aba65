"""Lean accepts the proofs, rejects the false ones, and z3's models are checked."""

import shutil
import subprocess

import numpy as np
import pytest

from lib.collapse_warning import lean
from lib.collapse_warning.countermodels import HYPOTHESES, Order, find_engine, find_order


@pytest.fixture(scope="module", autouse=True)
def _lean_runs():
    try:
        lean.version()
    except lean.LeanUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("file", sorted(lean.PROOFS.glob("*.lean")), ids=lambda f: f.stem)
def test_proofs_are_accepted_without_axioms(file):
    result = lean.check(file)
    assert result.ok, result.reason
    assert result.axioms
    assert result.reason == ""


@pytest.mark.parametrize(
    "file", sorted((lean.PROOFS / "false").glob("*.lean")), ids=lambda f: f.stem
)
def test_false_proofs_are_rejected(file):
    result = lean.check(file)
    assert not result.ok
    assert result.reason


def test_an_axiom_exits_with_zero_and_is_named():
    result = lean.check(lean.PROOFS / "false" / "injected_axiom.lean")
    assert result.exit_code == 0
    assert result.axioms == {"injected_axiom": ("trust_me",)}


def test_a_file_that_asks_about_nothing_is_rejected():
    assert not lean.check("prelude\ninductive Absurd : Prop\n").ok


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


def test_frozen_misses_cannot_recover_and_others_can():
    assert find_engine(frozen=True, size=4) is None
    engine = find_engine(frozen=False)
    assert engine.run(0, 2) == [True, False]


def test_bad_hypotheses_are_refused():
    with pytest.raises(ValueError, match="expected one of"):
        find_order("luck")
    with pytest.raises(ValueError, match="at least 3"):
        find_order(size=2)
    with pytest.raises(ValueError, match="expected one of"):
        Order(np.eye(3, dtype=bool)).holds("luck")
    with pytest.raises(ValueError, match="at least 1"):
        find_engine(frozen=True, size=0)


COQ = """
Theorem obstruction (P : Type) (le : P -> P -> Prop)
  (trans : forall x y z, le x y -> le y z -> le x z) (x y z : P)
  (strict : le y x -> False) (yz : le y z) (zx : le z x) : False.
Proof. exact (strict (trans y z x yz zx)). Qed.

Fixpoint after (S : Type) (next : S -> S) (s : S) (n : nat) : S :=
  match n with O => s | Datatypes.S k => next (after S next s k) end.

Theorem absorbing (S : Type) (next : S -> S) (miss : S -> Prop)
  (frozen : forall s, miss s -> next s = s) (s : S) (m : miss s) (n : nat) :
  after S next s n = s.
Proof. induction n as [|n known]; simpl; [reflexivity | rewrite known; exact (frozen s m)]. Qed.
Print Assumptions obstruction.
Print Assumptions absorbing.
"""


@pytest.mark.skipif(shutil.which("coqc") is None, reason="coqc is not installed (Debian: coq)")
def test_a_second_kernel_agrees(tmp_path):
    (tmp_path / "proofs.v").write_text(COQ)
    done = subprocess.run(
        ["coqc", "proofs.v"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("Closed under the global context") == 2
