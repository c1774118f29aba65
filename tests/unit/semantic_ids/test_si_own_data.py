"""The page on own data runs as printed, and what the theory page says of shared rows is so."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from lib.core.paths import ROOT
from lib.semantic_ids import NGramCounts

PAGE = ROOT / "book/ch02_semantic_ids/own_data.md"


def test_the_page_runs_from_a_readers_files_to_an_answer(made_up, tmp_path, monkeypatch, capsys):
    data = made_up(width=5, n_users=60)
    names = [f"sku-{i}" for i in range(data.n_items)]
    pd.DataFrame(data.codes, columns=["c1", "c2", "c3"]).assign(item=names).to_csv(
        tmp_path / "codes.csv", index=False
    )
    rows = [
        (user, names[item], time)
        for user, one in enumerate(data.sequences)
        for time, item in enumerate(one)
    ]
    log = pd.DataFrame(rows, columns=["user", "item", "time"])
    log.sample(frac=1, random_state=0).to_csv(tmp_path / "log.csv", index=False)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    names_of_page: dict[str, object] = {}
    for block in blocks:
        exec(block.replace("steps=300", "steps=3"), names_of_page)  # the words are the page's
    shown = capsys.readouterr().out
    for word in ("share their ID", "the table alone", "flat", "PrefixMem", "plus counts"):
        assert word in shown
    read = names_of_page["data"]
    assert all(np.array_equal(a, b) for a, b in zip(read.sequences, data.sequences, strict=True))


@pytest.mark.parametrize(
    ("times", "error"),
    [
        (["2024-02-03 10:00", "2024-02-03 9:00", "2024-01-11 09:00"], None),
        (["03/02/2024", "11/01/2024", "12/01/2024"], "ISO8601"),
        ([1.0, 2.0, np.inf], "infinite"),
        (["2024-02-03 10:00", "2024-02-03", "2024-01-11T09:00+02:00"], None),
    ],
)
def test_times_that_could_be_read_in_two_ways_are_refused(times, error, tmp_path, monkeypatch):
    codes = pd.DataFrame({"item": ["a", "b", "c"], "c1": 0, "c2": [0, 1, 2], "c3": 0})
    codes.to_csv(tmp_path / "codes.csv", index=False)
    log = pd.DataFrame({"user": 1, "item": ["a", "b", "c"], "time": times})
    log.to_csv(tmp_path / "log.csv", index=False)
    monkeypatch.chdir(tmp_path)
    first = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    if error:
        with pytest.raises(ValueError, match=error):
            exec(first, {})
    else:
        names: dict[str, object] = {}
        exec(first, names)
        assert names["data"].sequences[0].tolist() == [2, 1, 0]  # in the order of their times


@pytest.mark.parametrize(("own", "loss"), [(False, np.log(2)), (True, 0.0)])
def test_a_linear_reading_of_shared_rows_is_no_count_table(own, loss):
    # Two heads of two rows; no two prefixes share both, yet each row is shared.
    rows = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    target = torch.tensor([0, 1, 1, 0])
    torch.manual_seed(0)
    table = torch.randn(2, 2, 4, requires_grad=True)
    alone = torch.randn(4, 4, requires_grad=True)  # a row of its own for every prefix
    read = torch.randn(8, 2, requires_grad=True)
    second = torch.randn(4, 2, requires_grad=True)
    optimiser = torch.optim.Adam([table, alone, read, second], lr=0.05)
    for _ in range(1500):
        memory = torch.cat([table[0, rows[:, 0]], table[1, rows[:, 1]]], dim=1)
        logits = memory @ read + (alone @ second if own else 0)
        found = functional.cross_entropy(logits, target)
        optimiser.zero_grad()
        found.backward()
        optimiser.step()
    assert float(found.detach()) == pytest.approx(loss, abs=0.01)
    codes = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
    counts = NGramCounts(codes, 2, weights=[1, 1, 1, 1], alpha=1e-9)
    assert counts.hits(codes)[:, 2].all()  # the count table knows them all
