"""Training: every piece once, no padding, tables updated sparsely, the same twice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.semantic_ids.optim import Muon, RowAdam
from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig
from lib.semantic_ids.training import (
    TrainConfig,
    epoch,
    next_code_loss,
    optimisers,
    split_parameters,
    train,
    windows,
)
from lib.semantic_ids.transformer import GenerativeTransformer, TransformerConfig

SHAPE = TransformerConfig(n_levels=3, n_codes=8, max_items=5, d_model=16, n_heads=2)
MEMORY = PrefixMemConfig(
    n_levels=3, n_codes=8, d_model=16, d_mem=8, max_order=3, table_size=101, active_levels=(2, 3)
)
RNG = np.random.default_rng(0)
CODES = RNG.integers(8, size=(30, 3))
SEQUENCES = [RNG.integers(30, size=n) for n in (2, 3, 5, 9, 4, 7)]
FEW = TrainConfig(steps=15, items_per_batch=12, lr=0.01, matrix_lr=0.02, warmup=2)


def fresh(memory=True):
    torch.manual_seed(0)
    made = GenerativeTransformer(SHAPE)
    made.encoder = PrefixMem(MEMORY) if memory else None
    return made


def test_windows_keep_every_interaction_that_has_a_past():
    pieces = windows(SEQUENCES, 4)
    rows = [row.tolist() for group in pieces.values() for row in group]
    assert (
        sorted(rows)
        == sorted(
            [
                SEQUENCES[0].tolist(),
                SEQUENCES[1].tolist(),
                SEQUENCES[2][1:].tolist(),  # the single first item is dropped
                SEQUENCES[3][1:5].tolist(),
                SEQUENCES[3][5:].tolist(),
                SEQUENCES[4].tolist(),
                SEQUENCES[5][:3].tolist(),
                SEQUENCES[5][3:].tolist(),
            ]
        )
    )
    assert all(group.shape[1] == length for length, group in pieces.items())


def test_an_epoch_is_every_piece_once():
    pieces = windows(SEQUENCES, 4)
    batches = list(epoch(pieces, 8, np.random.default_rng(1)))
    assert all(batch.size <= 8 for batch in batches)
    seen = sorted(row.tolist() for batch in batches for row in batch)
    assert seen == sorted(row.tolist() for group in pieces.values() for row in group)


def test_training_lowers_the_loss_and_is_the_same_twice():
    pieces = windows(SEQUENCES, 4)
    logs = [train(fresh(), pieces, CODES, FEW) for _ in range(2)]
    assert logs[0].losses == logs[1].losses
    assert logs[0].losses[-1] < logs[0].losses[0]


def test_with_and_without_memory_the_start_and_the_batches_are_the_same():
    pieces = windows(SEQUENCES, 4)
    one = TrainConfig(steps=1, items_per_batch=12)
    plain, memory = (train(fresh(kind), pieces, CODES, one) for kind in (False, True))
    assert plain.losses == memory.losses


def test_rows_that_were_not_looked_up_keep_their_bits():
    model = fresh()
    before = model.encoder.table.weight.detach().clone()
    train(model, windows(SEQUENCES, 4), CODES, FEW)
    changed = (model.encoder.table.weight.detach() != before).any(1).nonzero()[:, 0]
    every = torch.from_numpy(CODES)
    rows = torch.cat([model.encoder.hash.rows(every[:, :n]).flatten() for n in (1, 2)]).unique()
    assert len(changed) > 0
    assert set(changed.tolist()) <= set(rows.tolist())


def test_the_table_is_the_only_sparse_parameter_and_every_parameter_is_trained():
    model = fresh()
    parts = split_parameters(model)
    _, encoder, tables, matrices = parts
    assert [id(p) for p in tables] == [id(model.encoder.table.weight)]
    assert [id(p) for p in encoder] == [id(model.encoder.out.weight)]
    inside = [p for p in model.body.parameters() if p.ndim == 2]
    assert {id(p) for p in matrices} == {id(p) for p in inside}
    assert sum(map(len, parts)) == len(list(model.parameters()))


@pytest.mark.parametrize("size", [50, 5000])
def test_row_adam_is_sparse_adam_of_torch(size):
    """Rows looked up once, often and never, and a step that leaves out rows of the one before."""
    torch.manual_seed(0)
    start = torch.randn(size, 3)
    looks = [torch.randint(40, (200,)), torch.randint(20, (9,)), torch.randint(50, (60,))]
    found = []
    for kind in (RowAdam, torch.optim.SparseAdam):
        table = torch.nn.Embedding(size, 3, sparse=True)
        with torch.no_grad():
            table.weight.copy_(start)
        optimiser = kind([table.weight], lr=0.1)
        for rows in looks:
            optimiser.zero_grad()
            (table(rows) ** 2).sum().backward()
            optimiser.step()
        found.append(table.weight.detach())
    assert (found[0] - found[1]).abs().max() < 1e-6
    assert (found[0] - start).abs().max() > 0.1
    assert torch.equal(found[0][50:], start[50:])


def test_row_adam_leaves_a_table_without_gradient_and_refuses_a_dense_one():
    table, other = (torch.nn.Embedding(4, 2) for _ in range(2))
    before = other.weight.detach().clone()
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="gradient is dense"):
        RowAdam([other.weight, table.weight], lr=0.1).step()
    assert torch.equal(other.weight, before)


def test_muon_is_that_of_torch_in_single_precision():
    torch.manual_seed(0)
    start, grads = torch.randn(12, 7), torch.randn(3, 12, 7)
    found = []
    for kind in (Muon, torch.optim.Muon):
        matrix = torch.nn.Parameter(start.clone())
        optimiser = kind([matrix], lr=0.1, weight_decay=0.1)
        for grad in grads:
            matrix.grad = grad.clone()
            optimiser.step()
        found.append(matrix.detach() - start)
    ours, theirs = found
    assert (ours - theirs).norm() < 0.03 * theirs.norm()  # bfloat16 keeps eight bits


def test_a_step_of_muon_is_nearly_orthogonal_and_leaves_what_has_no_gradient():
    torch.manual_seed(0)
    one, other = (torch.nn.Parameter(torch.zeros(6, 20)) for _ in range(2))
    one.grad = torch.randn(6, 20)
    Muon([one, other], lr=1.0).step()
    values = torch.linalg.svdvals(one.detach())
    assert values.min() > 0.5
    assert values.max() < 1.3
    assert not other.any()
    with pytest.raises(ValueError, match="expected a matrix"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=1.0)


def test_muon_takes_wide_tall_and_square_matrices_of_several_sizes_at_once():
    """Each as if alone, and as the polynomial acts on its singular values."""
    torch.manual_seed(0)
    shapes = [(6, 20), (20, 6), (6, 6), (9, 4)]
    grads = [torch.randn(shape) for shape in shapes]

    def step(at):
        ours = [torch.nn.Parameter(torch.zeros(shapes[n])) for n in at]
        for one, n in zip(ours, at, strict=True):
            one.grad = grads[n].clone()
        Muon(ours, lr=1.0, weight_decay=0.0).step()
        return [-one.detach() for one in ours]

    together = step(range(4))
    for n, change in enumerate(together):
        assert torch.allclose(change, step([n])[0], atol=1e-6)
        left, values, right = torch.linalg.svd(grads[n].double(), full_matrices=False)
        values = values / values.norm()
        for _ in range(5):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        rows, columns = shapes[n]
        expected = left @ torch.diag(values) @ right * max(1, rows / columns) ** 0.5
        assert torch.allclose(change.double(), expected, atol=1e-4)


def test_averaging_ends_with_the_mean_of_the_last_weights():
    pieces = windows(SEQUENCES, 4)
    taken = {}

    def keep(model):
        taken[len(taken)] = model.tokens.weight.detach().clone()

    model = fresh()
    # Of 15 steps the last ten, every fifth: after steps 10 and 15.
    train(model, pieces, CODES, replace(FEW, average=0.6), evaluate=keep, at=(10, 15))
    assert torch.allclose(model.tokens.weight, (taken[0] + taken[1]) / 2, atol=1e-7)
    assert not torch.equal(taken[0], taken[1])


def test_evaluations_are_taken_in_evaluation_mode():
    modes = train(
        fresh(), windows(SEQUENCES, 4), CODES, FEW, evaluate=lambda m: m.training, at=(5, 10)
    ).evaluations
    assert modes == {5: False, 10: False}


def test_a_loss_that_is_no_number_stops_training():
    model = fresh()
    with torch.no_grad():
        model.tokens.weight[:] = torch.nan
    with pytest.raises(FloatingPointError, match="nan at step 0"):
        train(model, windows(SEQUENCES, 4), CODES, FEW)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: windows([np.array([1])], 4), "sequences hold none of two items"),
        (lambda: windows(SEQUENCES, 1), "max_items is 1"),
        (lambda: TrainConfig(steps=0), "steps is 0"),
        (lambda: TrainConfig(lr=-1.0), "lr is -1"),
        (lambda: TrainConfig(average=1.0), "average is 1"),
        (lambda: TrainConfig(matrix_lr=-1.0), "matrix_lr is -1"),
        (lambda: TrainConfig(lr=float("nan")), "lr is nan"),
    ],
)
def test_bad_settings_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_the_loss_asks_for_every_code_that_has_a_context():
    """The mean over levels of each one's mean: the first level from the item before."""
    model = fresh()
    codes = torch.from_numpy(CODES[np.array([[1, 0, 3], [4, 3, 0]])])
    logits = [one.log_softmax(-1) for one in model(codes)]
    parts = [[], [], []]
    for row in range(2):
        for item in range(3):
            for level in range(3):
                if level == 0 and item == 0:
                    continue
                at = item - 1 if level == 0 else item
                parts[level].append(-logits[level][row, at, codes[row, item, level]].item())
    wanted = np.mean([np.mean(one) for one in parts])
    assert next_code_loss(model, codes).item() == pytest.approx(wanted, rel=1e-5)


def test_the_rate_rises_falls_by_a_cosine_and_ends_at_a_tenth():
    config = TrainConfig(steps=101, warmup=1)
    assert config.scale(0) == 1
    assert config.scale(50) == pytest.approx(0.1 + 0.9 * 0.5)  # half way down
    assert config.scale(25) == pytest.approx(0.1 + 0.9 * (1 + 2**-0.5) / 2)
    assert config.scale(100) == pytest.approx(0.1)
    assert TrainConfig(steps=10, warmup=4).scale(1) == 0.5


def test_tables_and_projection_learn_faster_by_the_memory_factor():
    config = TrainConfig(lr=0.01, memory_factor=7.0, matrix_lr=0.02, weight_decay=0.3)
    dense, muon, rows = optimisers(fresh(), config)
    body, encoder = dense.param_groups
    assert (body["lr"], encoder["lr"], rows.param_groups[0]["lr"]) == pytest.approx(
        (0.01, 0.07, 0.07)
    )
    assert (muon.param_groups[0]["lr"], muon.param_groups[0]["weight_decay"]) == (0.02, 0.3)
    assert (body["betas"], body["weight_decay"]) == ((0.9, 0.98), 0.3)
    assert all(
        group["peak"] == group["lr"] for one in (dense, muon, rows) for group in one.param_groups
    )
    without = optimisers(fresh(memory=False), TrainConfig())  # matrices go to AdamW, too
    assert len(without) == 1
    assert sum(len(group["params"]) for group in without[0].param_groups) == len(
        list(fresh(memory=False).parameters())
    )


@pytest.mark.parametrize("bad", [[0.9, 1.9], [0, np.nan], [-1, 2], [[0, 1]]])
def test_what_is_no_item_number_is_in_no_window(bad):
    with pytest.raises(ValueError, match="sequences"):
        windows([np.array(bad)], 4)
