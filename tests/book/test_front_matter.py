"""What a newcomer meets first: README, licences, citation, workflows, templates, hooks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.core.paths import ROOT
from lib.core.proof import KERNELS

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))
PROSE = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "book/intro.md",
    "book/method.md",
    "book/running.md",
)


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_first_screen_of_the_readme_has_the_two_commands() -> None:
    screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:20]
    commands = [line.split("#")[0].strip() for line in screen if line.startswith("make ")]
    assert commands == ["make book", "make test"]


@pytest.mark.parametrize("name", PROSE)
def test_every_target_that_prose_names_is_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z-]*)", text, re.MULTILINE))
    assert named - TARGETS == set()


@pytest.mark.parametrize("name", ["Makefile", "CONTRIBUTING.md"])
def test_the_example_of_a_new_chapter_is_one_of_the_contents(name: str) -> None:
    """Its arguments agree with the contents, so that it makes a chapter until that one is there."""
    text = (ROOT / name).read_text(encoding="utf-8")
    ((number, package, arxiv),) = set(
        re.findall(r"make new-chapter N=(\d+) SLUG=(\w+) ARXIV=(\S+)", text)
    )
    entry = {one["number"]: one for one in read("data/chapters.yml")}[int(number)]
    assert (entry["slug"], entry["arxiv"]) == (f"ch{number}_{package}", arxiv)


@pytest.mark.parametrize("name", PROSE)
def test_every_path_that_prose_names_is_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    paths = re.findall(r"\b(?:book|notebooks|lib|data|tests)/[\w./-]*\w", text)
    # The example of CONTRIBUTING is a chapter that does not exist yet.
    paths = [p for p in paths if "persuasion" not in p]
    assert [p for p in paths if not (ROOT / p).exists()] == []


def test_readme_links_resolve() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        links = re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8"))
        assert [x for x in links if "://" not in x and not (ROOT / x).exists()] == []


def test_licences_say_what_they_cover() -> None:
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("BSD 3-Clause License")
    text = (ROOT / "LICENSE-TEXT").read_text(encoding="utf-8")
    assert "Creative Commons Attribution 4.0 International" in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text
    assert "Section 8 -- Interpretation" in text or "Section 8 – Interpretation" in text


def test_the_citation_is_whole() -> None:
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == ["BSD-3-Clause", "CC-BY-4.0"]
    # One version and one day in three places, the newest entry of the changes first.
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'^version = "(.*)"$', project, re.MULTILINE) == [citation["version"]]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## (\S+) \((\S+)\)$", changes, re.MULTILINE)[0]
    assert newest == (citation["version"], citation["date-released"])
    assert citation["repository-code"] == read("_config.yml")["repository"]["url"]


def test_the_workflows_call_the_same_targets() -> None:
    def commands(name: str) -> str:
        jobs = read(f".github/workflows/{name}.yml")["jobs"].values()
        return "\n".join(step.get("run", "") for job in jobs for step in job["steps"])

    assert {"make book", "make test"} <= set(re.findall(r"make \w+", commands("ci")))
    assert "make book" in commands("pages")
    weekly = read(".github/workflows/weekly.yml")
    assert weekly["jobs"]["proof"]["strategy"]["matrix"]["cpu"] == ["", *sorted(KERNELS)]
    assert "make prove CPU=${{ matrix.cpu }}" in commands("weekly")
    assert "lib.core.data --fetch" in commands("weekly")
    plain = weekly["jobs"]["set-up"]  # as a newcomer has it: one registry and no cache
    assert "env" not in plain
    assert not any("cache" in str(step) for step in plain["steps"])
    here = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make book" in here
    # One script looks at what was built, and both want data and browser.
    for text in (here, commands("ci")):
        assert re.search(r"^\.ci/pages$", text, re.MULTILINE)
    (job,) = read(".github/workflows/ci.yml")["jobs"].values()
    assert (job["env"]["BOOK_DATA"], job["env"]["BOOK_BROWSER"]) == ("required", "required")
    assert 'export BOOK_DATA="${BOOK_DATA-required}"' in here


def test_a_missing_page_or_a_changed_file_stops_ci(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    def stopped_by() -> str:
        done = subprocess.run(
            [tmp_path / ".ci" / "pages"], capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == (done.stderr == "")
        return done.stderr

    files = {
        ".ci/pages": (ROOT / ".ci" / "pages").read_text(encoding="utf-8"),
        ".gitignore": "/_build/\n",
        "book/ch99_demo/claims.yml": "claims: []\n",
        "tracked": "as committed\n",
    }
    built = ["index.html", "book/intro.html", "book/ledger.html", "book/ch99_demo/index.html"]
    built.append("downloads/ten-papers-executable.crate.zip")
    for name, text in {**files, **{f"_build/html/{one}": "here" for one in built}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / ".ci" / "pages").chmod(0o755)
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "all")
    assert stopped_by() == ""
    for one in built:
        file = tmp_path / "_build" / "html" / one
        file.write_text("", encoding="utf-8")  # empty is missing
        assert f"missing page: {one}" in stopped_by()
        file.write_text("here", encoding="utf-8")
    (tmp_path / "tracked").write_text("changed\n", encoding="utf-8")
    assert " M tracked" in stopped_by()
    (tmp_path / "tracked").write_text("as committed\n", encoding="utf-8")
    (tmp_path / "unknown.ipynb").touch()
    assert "?? unknown.ipynb" in stopped_by()


@pytest.mark.parametrize("name", ["erratum", "chapter"])
def test_issue_templates_are_forms(name: str) -> None:
    form = read(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    assert all(field["attributes"]["label"] for field in form["body"])


def test_hooks_fetch_nothing() -> None:
    repositories = read(".pre-commit-config.yaml")["repos"]
    assert [r["repo"] for r in repositories] == ["local"]
    assert {hook["language"] for r in repositories for hook in r["hooks"]} == {"system"}
    subprocess.run(
        [Path(sys.executable).parent / "pre-commit", "validate-config"], cwd=ROOT, check=True
    )


def test_every_chapter_has_its_bibliography_registered() -> None:
    registered = read("_config.yml")["bibtex_bibfiles"]
    written = sorted(f.relative_to(ROOT).as_posix() for f in ROOT.glob("book/ch*/references.bib"))
    assert sorted(registered) == written
