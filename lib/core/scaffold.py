"""The skeleton of a new chapter: ``python -m lib.core.scaffold 03 persuasion 2605.31275``.

Number, slug and arXiv identifier must be those of ``data/chapters.yml``. Nothing that exists is
overwritten, and either all of the skeleton is made or nothing. It builds and passes lint as it is;
what is to be written says so.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

from lib.core.ledger import Entry, LedgerError, load_contents
from lib.core.notebooks import Notebook, pair
from lib.core.paths import ROOT, write_atomic

__all__ = ["ScaffoldError", "create", "main"]


class ScaffoldError(RuntimeError):
    """The skeleton cannot be made; nothing was written."""


_INDEX = """\
(ch{number:02d})=
# {title}

```{{paper-card}} {slug}
```

{{cite:t}}`paper{number:02d}` *To be written: what the paper claims, in two sentences.*

## What we found

```{{findings}} {slug}
```

## What is run on what

*To be written: data, sizes, what is simulated, and the run time.*

All rows are {{ref}}`on a page of their own <ch{number:02d}-rows>`.

## References

```{{bibliography}}
:filter: docname in docnames
```
"""

_ROWS = """\
(ch{number:02d}-rows)=
# Every claim and its verdict: {title}

```{{verdicts}} {slug}
```
"""

_THEORY = """\
# Theory: {title}

*To be written: definitions, propositions and proofs, each checked by code where it can be.*

:::{{prf:definition}} To be replaced
:label: ch{number:02d}-def-first

*To be written.*
:::
"""

_OWN = """\
# Use it on your own data: {title}

*To be written: from a file of the reader's own to an answer, in examples that the tests run.*
"""

_CLAIMS = """\
# Chapter {number}. Write every claim before the first run: where it stands in the paper, its
# tolerance, what doing nothing would give (null), what is broken on purpose (control).
# CONTRIBUTING.md, Claims, shows a whole one.
chapter: {slug}
number: {number}
title: {title_json}
question: {question_json}
paper:
  title: {title_json}
  authors: [To be entered]
  arxiv: "{arxiv}"
inputs: []
claims:
- id: ch{number:02d}.first
  by: paper
  source: "To be entered"
  statement: "To be written: the first claim, in our words."
  kind: property
  basis: out of reach
  reason: "This chapter is a skeleton."
"""

_FINDINGS = """\
# What the chapter concludes, each sentence beside the rows that carry it.
# CONTRIBUTING.md, Findings and numbers in prose, says more.
- id: first
  sentence: "To be written: the first finding, in plain words."
  rows: [ch{number:02d}.first]
  direction: false
  scope: "To be written: on which data, under which conditions"
  budget: ""
  figure: null
"""

_REFERENCES = """\
@misc{{paper{number:02d},
  title = {{{title}}},
  author = {{{{To be entered}}}},
  year = {{20{year}}},
  eprint = {{{arxiv}}},
  archivePrefix = {{arXiv}}
}}
"""

_PACKAGE = '''"""{title} (arXiv {arxiv})."""
'''

_METHOD = '''"""The method of {title}: what a reader imports."""

# To be written. The method never imports `lib.{package}.study`; import-linter checks it.
'''

_STUDY = '''"""What only the notebooks need: arrangements, the paper's tables, peers, figures."""
'''

_NOTEBOOK = """\
# %% [markdown]
# # First notebook: {title}
#
# *To be written: what this notebook shows.*

# %%
from lib import {package}
from lib.core import figures

figures.use()

# %% [markdown]
# The paper:

# %%
print({package}.__doc__)
"""

_TEST = """\
from lib import {package}


def test_the_package_names_its_paper() -> None:
    assert "{arxiv}" in str({package}.__doc__)
"""

_FILES = {
    "book/{slug}/index.md": _INDEX,
    "book/{slug}/theory.md": _THEORY,
    "book/{slug}/claims.md": _ROWS,
    "book/{slug}/own_data.md": _OWN,
    "book/{slug}/claims.yml": _CLAIMS,
    "book/{slug}/findings.yml": _FINDINGS,
    "book/{slug}/references.bib": _REFERENCES,
    "lib/{package}/__init__.py": _PACKAGE,
    "lib/{package}/method.py": _METHOD,
    "lib/{package}/study/__init__.py": _STUDY,
    "notebooks/{slug}/01_first.py": _NOTEBOOK,
    "tests/unit/{package}/test_{package}_package.py": _TEST,
}

_TOC = """\
      - file: book/{slug}/index
        sections:
          - file: book/{slug}/theory
          - file: notebooks/{slug}/01_first
          - file: book/{slug}/own_data
          - file: book/{slug}/claims
"""


def _entry(number: str, package: str, arxiv: str, root: Path) -> Entry:
    """Return the chapter of the contents that the arguments name."""
    if not number.isdigit():
        raise ScaffoldError(f"number is {number!r}, expected digits such as 03")
    contents = {entry.number: entry for entry in load_contents(root=root)}
    entry = contents.get(int(number))
    if entry is None:
        raise ScaffoldError(f"number is {number}, expected one of {sorted(contents)}")
    if entry.slug != f"ch{entry.number:02d}_{package}":
        raise ScaffoldError(
            f"slug is {package!r}, expected {entry.slug.partition('_')[2]!r}: data/chapters.yml "
            f"says so for chapter {entry.number}"
        )
    if entry.arxiv != arxiv:
        raise ScaffoldError(
            f"arXiv identifier is {arxiv!r}, expected {entry.arxiv!r} as in data/chapters.yml"
        )
    return entry


def _add_to_toc(text: str, entry: Entry) -> str:
    """Return ``_toc.yml`` with the chapter after the ones of lower number; comments stay."""
    block = _TOC.format(slug=entry.slug).splitlines()
    lines = text.rstrip("\n").splitlines()
    places = {
        int(found[1]): index
        for index, line in enumerate(lines)
        if (found := re.match(r"      - file: book/ch(\d\d)_\w+/index\s*$", line))
    }
    before = [number for number in places if number < entry.number]
    after = [number for number in places if number > entry.number]
    if before:
        at = places[max(before)] + 1
        while at < len(lines) and lines[at].startswith("        "):
            at += 1
    elif after:
        at = places[min(after)]
    else:
        block = ["  - caption: The chapters", "    chapters:", *block]
        at = len(lines)
    return "\n".join([*lines[:at], *block, *lines[at:]]) + "\n"


def _add_to_config(text: str, entry: Entry) -> str:
    """Return ``_config.yml`` with the chapter's references in ``bibtex_bibfiles``."""
    line = f"  - book/{entry.slug}/references.bib"
    listed = list(re.finditer(r"^  - book/ch\d\d_\w+/references\.bib$", text, flags=re.MULTILINE))
    if listed:
        lower = [found for found in listed if found[0] < line]
        at = lower[-1].end() if lower else listed[0].start() - 1
        return f"{text[:at]}\n{line}{text[at:]}"
    if "bibtex_bibfiles" in text:
        raise ScaffoldError("_config.yml: bibtex_bibfiles is not a list with one file a line")
    return f"{text.rstrip()}\n\nbibtex_bibfiles:\n{line}\n"


def create(number: str, package: str, arxiv: str, *, root: Path = ROOT) -> list[Path]:
    """Make the skeleton of a chapter.

    Parameters
    ----------
    number : str
        The chapter's number, such as ``"03"``.
    package : str
        Its package in `lib`, such as ``"persuasion"``.
    arxiv : str
        Such as ``"2605.31275"``.
    root : Path
        The repository root.

    Returns
    -------
    list of Path
        The new files.

    Raises
    ------
    ScaffoldError
        If the arguments are not those of ``data/chapters.yml``, or a file exists already. Nothing
        is written then.
    """
    entry = _entry(number, package, arxiv, root)
    values = {
        "number": entry.number,
        "slug": entry.slug,
        "package": package,
        "arxiv": arxiv,
        "year": arxiv[:2],
        "title": entry.title,
        "title_json": json.dumps(entry.title, ensure_ascii=False),
        "question_json": json.dumps(entry.question, ensure_ascii=False),
    }
    files = {name.format(**values): text.format(**values) for name, text in _FILES.items()}
    folders = sorted({str(Path(name).parent) for name in files})
    folders = [one for one in folders if str(Path(one).parent) not in folders]
    taken = [folder for folder in folders if (root / folder).exists()]
    if taken:
        raise ScaffoldError(f"nothing is overwritten, and these exist: {', '.join(taken)}")
    shared = {
        name: (root / name).read_text(encoding="utf-8") for name in ("_toc.yml", "_config.yml")
    }
    edited = {
        "_toc.yml": _add_to_toc(shared["_toc.yml"], entry),
        "_config.yml": _add_to_config(shared["_config.yml"], entry),
    }
    if f"book/{entry.slug}/index" not in json.dumps(yaml.safe_load(edited["_toc.yml"])):
        raise ScaffoldError("_toc.yml has a shape in which the chapter has no place")
    # Made aside on the same file system, then moved folder by folder.
    with tempfile.TemporaryDirectory(prefix=".scaffold-", dir=root) as aside:
        for name, text in files.items():
            (Path(aside) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(aside) / name).write_text(text, encoding="utf-8")
        pair(Notebook(Path(aside) / "notebooks" / entry.slug / "01_first.py"))
        moved: list[Path] = []
        try:
            for folder in folders:
                (root / folder).parent.mkdir(parents=True, exist_ok=True)
                (Path(aside) / folder).rename(root / folder)
                moved.append(root / folder)
            for name, text in edited.items():
                write_atomic(root / name, text)
        except BaseException:
            for one in moved:
                shutil.rmtree(one)
            for name, text in shared.items():
                write_atomic(root / name, text)
            raise
    return sorted(path for folder in moved for path in folder.rglob("*") if path.is_file())


def main(arguments: list[str] | None = None) -> int:
    """Make the skeleton of a new chapter."""
    parser = argparse.ArgumentParser(prog="python -m lib.core.scaffold", description=main.__doc__)
    parser.add_argument("number", help="such as 03")
    parser.add_argument("slug", help="such as persuasion")
    parser.add_argument("arxiv", help="such as 2605.31275")
    options = parser.parse_args(arguments)
    try:
        made = create(options.number, options.slug, options.arxiv)
    except (ScaffoldError, LedgerError) as error:
        print(f"nothing was made: {error}", file=sys.stderr)
        return 1
    print("\n".join(path.relative_to(ROOT).as_posix() for path in made))
    print(f"added to _toc.yml and _config.yml\nnext: make chapter N={options.number}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
