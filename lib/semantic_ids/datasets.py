"""Catalogues and histories: what is loaded, how it is split, and what is missing.

Items are 0, 1, …; a sequence is an int64 array of items, oldest first. All files are Amazon reviews
prepared by others (see ``data/registry.yml``), read as they are and checked on the way in.
"""

from __future__ import annotations

import ast
import csv
import functools
import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.core import check, data
from lib.semantic_ids.catalogue import IntArray, SidCatalog, check_codes, check_sequences

__all__ = [
    "NAMES",
    "SAMPLE_SEED",
    "Examples",
    "SidData",
    "Split",
    "join_windows",
    "leave_one_out",
    "load",
    "sample",
]

N_CODES = 256
SAMPLE_SEED = 606
"""Chooses the users of a comparison; fixed before the first run, the same for all arms."""

_WINDOW = 10  # items that MiniOneRec shows of a history


@dataclass(frozen=True)
class Examples:
    """What is predicted: a target item for each history.

    Attributes
    ----------
    users : int64 (n,)
        Number of the sequence.
    histories : tuple of int64 arrays
        What came before the target, oldest first, never empty.
    targets : int64 (n,)
    """

    users: IntArray
    histories: tuple[IntArray, ...]
    targets: IntArray

    def __post_init__(self) -> None:
        check.same_length(users=self.users, histories=self.histories, targets=self.targets)
        object.__setattr__(self, "histories", check_sequences("histories", self.histories))
        for name in ("users", "targets"):
            check.integers(name, getattr(self, name), shape=("n",), at_least=0, empty=True)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, at: IntArray) -> Examples:
        """Return the examples at these places."""
        return Examples(self.users[at], tuple(self.histories[i] for i in at), self.targets[at])


@dataclass(frozen=True)
class Split:
    """Train sequences, and what is predicted for validation and test; see `leave_one_out`.

    Nothing of `valid` or `test` is in `train`. A test history includes the validation item.
    """

    train: tuple[IntArray, ...]
    valid: Examples
    test: Examples


@dataclass(frozen=True)
class SidData:
    """A catalogue of Semantic IDs, with histories where there are any.

    Attributes
    ----------
    name : str
    codes : int64 (n_items, n_levels)
        In ``[0, n_codes)``.
    n_codes : int
    sequences : tuple of int64 arrays
        One a user, oldest first; empty where only a code table is known.
    texts : tuple of str, or None
        One an item.
    note : str
        What the reader has to know about how the data were made.
    """

    name: str
    codes: IntArray
    n_codes: int
    sequences: tuple[IntArray, ...]
    texts: tuple[str, ...] | None = None
    note: str = ""
    given_split: Split | None = None

    def __post_init__(self) -> None:
        check.text("name", self.name)
        codes = check_codes(self.codes, self.n_codes)
        sequences = check_sequences("sequences", self.sequences, below=len(codes))
        for user, sequence in enumerate(sequences):
            if not len(sequence):
                raise ValueError(f"{self.name}: sequence {user} is empty")
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "sequences", sequences)
        if self.texts is not None and len(self.texts) != len(codes):
            raise ValueError(f"{self.name}: {len(self.texts)} texts for {len(codes)} items")

    @property
    def n_items(self) -> int:
        """Items in the catalogue."""
        return len(self.codes)

    @property
    def n_levels(self) -> int:
        """Codes in an ID."""
        return int(self.codes.shape[1])

    @property
    def n_interactions(self) -> int:
        """Length of all sequences together."""
        return sum(map(len, self.sequences))

    def split(self) -> Split:
        """Return the split that came with the data, or else leave-one-out.

        Raises
        ------
        ValueError
            If there are no sequences.
        """
        return self.given_split or leave_one_out(self.sequences)

    def catalog(self) -> SidCatalog:
        """Return the items as a catalogue that keeps all items of a shared ID."""
        return SidCatalog(self.codes, self.n_codes)


def sample(examples: Examples, n: int) -> Examples:
    """Return `n` examples in an order that depends on nothing but their number."""
    check.integer("n", n, at_least=1)
    order = np.random.default_rng(SAMPLE_SEED).permutation(len(examples))
    return examples.take(order[:n])


def leave_one_out(sequences: Sequence[IntArray]) -> Split:
    """Predict the last item for the test and the last but one for validation; train on the rest.

    Raises
    ------
    ValueError
        If there is no sequence, or one is shorter than three items.

    Examples
    --------
    >>> split = leave_one_out([np.array([4, 5, 6, 7])])
    >>> split.train[0], split.valid.targets, split.test.histories[0], split.test.targets
    (array([4, 5]), array([6]), array([4, 5, 6]), array([7]))
    """
    sequences = check_sequences("sequences", sequences)
    if not sequences:
        raise ValueError("there are no sequences to split")
    short = min(map(len, sequences))
    if short < 3:
        raise ValueError(f"a sequence has {short} items, expected at least 3")
    users = np.arange(len(sequences), dtype=np.int64)

    def examples(end: int) -> Examples:
        targets = np.array([s[end] for s in sequences], np.int64)
        return Examples(users, tuple(s[:end] for s in sequences), targets)

    return Split(tuple(s[:-2] for s in sequences), examples(-2), examples(-1))


# ── reading ─────────────────────────────────────────────────────────────────────────────────────
def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{path.name}: expected an object with an entry for each number")
    return found


def _rows(table: dict[str, Any], where: str) -> list[Any]:
    """Return values in the order of the keys 0, 1, …, all of which must be there."""
    if set(table) != {str(i) for i in range(len(table))}:
        raise ValueError(f"{where}: the keys are not 0 to {len(table) - 1}")
    return [table[str(i)] for i in range(len(table))]


_TOKEN = re.compile(r"<([a-z])_(\d+)>")


def _tokens(words: Sequence[str], where: str) -> list[int]:
    """Return the codes of tokens such as ``<a_12>``, whose letter must tell the level."""
    codes = []
    for level, word in enumerate(words):
        match = _TOKEN.fullmatch(word)
        if match is None or ord(match[1]) - ord("a") != level:
            raise ValueError(f"{where}: {word!r} at level {level + 1}, expected <letter_number>")
        codes.append(int(match[2]))
    return codes


def _index(path: Path) -> IntArray:
    rows = _rows(_json(path), path.name)
    if isinstance(rows[0][0], str):
        rows = [_tokens(row, path.name) for row in rows]
    return check_codes(rows, N_CODES)


def _sequences(path: Path) -> tuple[IntArray, ...]:
    return tuple(np.asarray(s, np.int64) for s in _rows(_json(path), path.name))


def _beauty(kind: str) -> SidData:
    codes = _index(data.path("sid_beauty", f"index_{kind}.json"))
    sequences = _sequences(data.path("sid_beauty", "inter.json"))
    return SidData(f"beauty_{kind}", codes, N_CODES, sequences)


def _letter() -> SidData:
    codes = _index(data.path("sid_letter", "Beauty.index.json"))
    note = "codes only; the items are numbered otherwise than in the other Beauty tables"
    return SidData("beauty_letter", codes, N_CODES, (), note=note)


def _genrec(kind: str) -> SidData:
    codes = _index(data.path("sid_genrec", f"{kind}.index.json"))
    sequences = _sequences(data.path("sid_genrec", f"{kind}.inter.json"))
    return SidData(kind.lower(), codes, N_CODES, sequences)


def join_windows(rows: Sequence[tuple[Sequence[int], int]], *, width: int) -> list[int]:
    """Put a history together again from what was shown before each of its later items.

    Parameters
    ----------
    rows : sequence of (history, target)
        In order of time; a history holds the last `width` items before its target.
    width : int

    Returns
    -------
    list of int
        The first history and all targets.

    Raises
    ------
    ValueError
        If there is no row, or a history does not continue the one before.

    Examples
    --------
    >>> join_windows([([1, 2, 3], 4), ([2, 3, 4], 9)], width=3)
    [1, 2, 3, 4, 9]
    """
    check.integer("width", width, at_least=1)
    if not rows:
        raise ValueError("rows is empty, expected a window to join")
    joined = list(rows[0][0])
    for history, target in rows:
        if list(history) != joined[-width:]:
            raise ValueError(f"the history {list(history)} does not continue {joined[-width:]}")
        joined.append(target)
    return joined


def _industrial() -> SidData:
    """Industrial: the train file is not published, so its part is rebuilt from later histories."""
    stem = "Industrial_and_Scientific"
    codes = _index(data.path("sid_minionerec", f"{stem}.index.json"))
    items = _rows(_json(data.path("sid_minionerec", f"{stem}.item.json")), "items")
    texts = tuple(html.unescape(str(one["title"])).strip() for one in items)
    targets: dict[str, dict[str, list[tuple[list[int], int]]]] = {"valid": {}, "test": {}}
    folder = "sid/minionerec"
    for part, by_user in targets.items():
        name = f"{folder}/{part}/{stem}_5_2016-10-2018-11.csv"
        with data.path("sid_minionerec", name).open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                history = [int(i) for i in ast.literal_eval(line["history_item_id"])]
                row = (history, int(line["item_id"]))
                by_user.setdefault(line["user_id"], []).append(row)
    names = sorted(targets["valid"].keys() | targets["test"].keys())
    sequences, train = [], []
    found: dict[str, tuple[list[int], list[IntArray], list[int]]] = {
        part: ([], [], []) for part in targets
    }
    for user, name in enumerate(names):
        rows = [row for part in targets.values() for row in part.get(name, [])]
        sequences.append(np.asarray(join_windows(rows, width=_WINDOW), np.int64))
        train.append(np.asarray(rows[0][0], np.int64))
        for part, (users, histories, goals) in found.items():
            for history, target in targets[part].get(name, []):
                users.append(user)
                histories.append(np.asarray(history, np.int64))
                goals.append(target)
    examples = {
        part: Examples(np.asarray(users, np.int64), tuple(histories), np.asarray(goals, np.int64))
        for part, (users, histories, goals) in found.items()
    }
    split = Split(tuple(train), examples["valid"], examples["test"])
    note = (
        "train rebuilt from the histories of validation and test (at most ten items each): users "
        "without a later interaction, and what lies further back, are missing"
    )
    return SidData("industrial", codes, N_CODES, tuple(sequences), texts, note, split)


_LOADERS: dict[str, Callable[[], SidData]] = {
    "beauty_rqkmeans": functools.partial(_beauty, "rqkmeans"),
    "beauty_rqvae": functools.partial(_beauty, "rqvae"),
    "beauty_letter": _letter,
    "instruments": functools.partial(_genrec, "Instruments"),
    "games": functools.partial(_genrec, "Games"),
    "industrial": _industrial,
}

NAMES: tuple[str, ...] = tuple(_LOADERS)
"""Catalogues that `load` knows; `study.films.movielens` makes one more from what is installed."""


@functools.cache
def load(name: str) -> SidData:
    """Return a catalogue with its histories; loaded once a process, not to be changed.

    Parameters
    ----------
    name : str
        One of `NAMES`.

    Raises
    ------
    ValueError
        If the name is unknown, or a file is not of the expected form.
    lib.core.data.MissingDataError
        If a file cannot be had.
    """
    return _LOADERS[check.known("name", name, NAMES)]()
