"""One Hypothesis profile for all tests: no deadlines anywhere, the same examples in CI."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, settings

from lib.core.paths import ROOT

# What one test may say for itself: how many examples, and no more.
OWN = {"max_examples"}


def contradictions(code: str) -> set[str]:
    """Return what a test module says about Hypothesis that belongs to the profile."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "settings":
            found |= {str(one.arg) for one in node.keywords} - OWN
            found |= {"another profile" for _ in node.args}
        elif isinstance(node, ast.Attribute) and node.attr in ("register_profile", "load_profile"):
            found.add(node.attr)
    return found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("@settings(max_examples=4)\ndef test(): ...", set()),
        ("@settings(deadline=200)\ndef test(): ...", {"deadline"}),
        ("@hypothesis.settings(max_examples=4, deadline=None)\ndef test(): ...", {"deadline"}),
        ("quick = settings(settings.get_profile('ci'))", {"another profile"}),
        ("settings.load_profile('ci')", {"load_profile"}),
    ],
)
def test_what_contradicts_the_profile(code: str, expected: set[str]):
    assert contradictions(code) == expected


def test_no_test_sets_a_deadline_or_a_profile_of_its_own():
    found = {
        str(file.relative_to(ROOT)): said
        for file in sorted((ROOT / "tests").rglob("*.py"))
        if file != ROOT / "tests" / "conftest.py"
        if (said := contradictions(file.read_text(encoding="utf-8")))
    }
    assert not found


def test_the_profile_in_force():
    assert settings().deadline is None
    assert settings().derandomize is bool(os.environ.get("CI"))
    assert HealthCheck.too_slow in settings().suppress_health_check


@pytest.mark.parametrize(("value", "derandomized"), [("true", True), ("", False)])
def test_ci_tries_the_same_examples_each_time(value: str, derandomized: bool):
    conftest = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); exec(open('tests/conftest.py').read())"
    )
    code = f"{conftest}; print(settings().derandomize, settings().deadline)"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "CI": value},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown.split() == [str(derandomized), "None"]
