"""Models and how they learn, by hand: shapes and spreads at the start, each step, what is saved."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lib.semantic_ids import tokenizer
from lib.semantic_ids.hashing import PrefixHash
from lib.semantic_ids.lm import attach
from lib.semantic_ids.optim import Muon, RowAdam
from lib.semantic_ids.prefixmem import (
    PrefixMem,
    PrefixMemConfig,
    load_encoder,
    place,
    save_encoder,
)
from lib.semantic_ids.study import guarantees
from lib.semantic_ids.study.controls import LeakyEncoder, RandomRows
from lib.semantic_ids.tokenizer import ResidualTokenizer
from lib.semantic_ids.training import (
    TrainConfig,
    endless,
    epoch,
    fit,
    next_code_loss,
    optimisers,
    split_parameters,
    train,
    windows,
)
from lib.semantic_ids.transformer import (
    CausalTransformer,
    GenerativeTransformer,
    TransformerConfig,
)

SHAPE = TransformerConfig(n_levels=3, n_codes=8, max_items=5, d_model=16, n_heads=2)


# ── batches ─────────────────────────────────────────────────────────────────────────────────────
def test_batches_hold_as_many_whole_pieces_as_fit() -> None:
    pieces = {4: np.arange(28).reshape(7, 4), 2: np.arange(6).reshape(3, 2)}

    def sizes(items):
        rng = np.random.default_rng(0)
        return sorted(batch.shape for batch in epoch(pieces, items, rng))

    assert sizes(12) == [(1, 4), (3, 2), (3, 4), (3, 4)]
    assert sizes(2) == [(1, 2)] * 3 + [(1, 4)] * 7
    assert sizes(100) == [(3, 2), (7, 4)]


def test_epochs_follow_one_another_in_other_orders() -> None:
    pieces = {2: np.arange(20).reshape(10, 2)}
    rows = endless(pieces, 2, np.random.default_rng(0))
    first, second = ([next(rows)[0, 0] for _ in range(10)] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(0, 20, 2))
    assert first != second
    again = endless(pieces, 2, np.random.default_rng(0))
    assert [next(again)[0, 0] for _ in range(10)] == first


def test_pieces_of_two_items_are_kept_and_of_one_dropped() -> None:
    found = windows([np.arange(7), np.array([9]), np.array([5, 6])], 3)
    assert {length: rows.tolist() for length, rows in found.items()} == {
        2: [[5, 6]],
        3: [[4, 5, 6], [1, 2, 3]],
    }
    assert list(windows([np.arange(5)], 2)) == [2]


# ── one loop for all ────────────────────────────────────────────────────────────────────────────
class Line(nn.Module):
    """One weight whose gradient is told, and what it went through."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([2.0]))
        self.modes = []

    def loss(self, slopes):
        self.modes.append(self.training)
        return (self.w * next(slopes)).sum()


def run(config, slopes, **options):
    model, told = Line(), iter(slopes)
    log = fit(model, lambda: model.loss(told), config, **options)
    return model, log


def adamw(config, slopes):
    """Take the steps of AdamW in plain numbers."""
    w, mean, square = 2.0, 0.0, 0.0
    kept = []
    for step, slope in enumerate(slopes):
        rate = config.lr * config.scale(step)
        grad = slope if abs(slope) <= config.clip else np.sign(slope) * config.clip
        mean, square = 0.9 * mean + 0.1 * grad, 0.98 * square + 0.02 * grad**2
        w *= 1 - rate * config.weight_decay
        over = np.sqrt(square / (1 - 0.98 ** (step + 1))) + 1e-8
        w -= rate * mean / (1 - 0.9 ** (step + 1)) / over
        kept.append(w)
    return kept


SLOPES = [0.5, -0.2, 3.0, 0.1, 0.7, -2.0, 0.4, 0.3, 0.2, -0.1]


@pytest.mark.parametrize("clip", [0.5, float("inf")])
def test_steps_are_those_of_adamw_with_the_rate_and_clip_of_the_config(clip) -> None:
    config = TrainConfig(steps=10, lr=0.1, warmup=3, clip=clip, weight_decay=0.2)
    model, log = run(config, SLOPES)
    kept = adamw(config, SLOPES)
    assert model.w.item() == pytest.approx(kept[-1], rel=1e-5)
    before = [2.0, *kept[:-1]]
    assert log.losses == pytest.approx(
        [w * s for w, s in zip(before, SLOPES, strict=True)], rel=1e-4
    )
    assert log.evaluations == {}
    assert not model.training
    assert model.modes == [True] * 10


def test_the_mean_of_the_last_weights_is_of_every_fifth() -> None:
    config = TrainConfig(steps=10, lr=0.1, warmup=3, weight_decay=0.2, clip=9)
    kept = adamw(config, SLOPES)
    # Steps to go: 5 and 0. At exactly half the steps the fifth last is not among them.
    for share, wanted in ((0.6, (kept[4] + kept[9]) / 2), (0.5, kept[9]), (0.0, kept[9])):
        model, _ = run(replace(config, average=share), SLOPES)
        assert model.w.item() == pytest.approx(wanted, rel=1e-5)
    thirds = TrainConfig(steps=11, lr=0.1, warmup=3, weight_decay=0.2, average=0.99, clip=9)
    kept = adamw(thirds, [*SLOPES, 0.3])
    model, _ = run(thirds, [*SLOPES, 0.3])
    assert model.w.item() == pytest.approx((kept[0] + kept[5] + kept[10]) / 3, rel=1e-5)


def test_evaluations_come_when_asked_and_training_goes_on() -> None:
    asked = []
    config = TrainConfig(steps=4, lr=0.1)
    model, log = run(config, SLOPES, evaluate=lambda: asked.append(1) or len(asked), at=(1, 3))
    assert log.evaluations == {1: 1, 3: 2}
    assert model.modes == [True] * 4
    assert run(config, SLOPES, at=(1, 2))[1].evaluations == {}
    assert run(config, SLOPES, evaluate=lambda: 1 / 0)[1].evaluations == {}
    with pytest.raises(FloatingPointError, match="inf at step 1"):
        run(config, [1.0, float("inf")])


def test_the_rate_of_single_steps() -> None:
    config = TrainConfig(steps=101, warmup=1)
    assert config.scale(1) == pytest.approx(0.1 + 0.45 * (1 + np.cos(0.01 * np.pi)))
    assert TrainConfig(steps=5, warmup=5).scale(5) == pytest.approx(0.1)
    assert TrainConfig(steps=5, warmup=5).scale(4) == 1
    assert TrainConfig(steps=5, warmup=0).scale(4) == pytest.approx(0.1)
    assert TrainConfig(steps=2, warmup=0).scale(0) == pytest.approx(0.55)
    assert [TrainConfig(warmup=4).scale(n) for n in range(4)] == [0.25, 0.5, 0.75, 1]


def test_parameters_that_stay_are_in_no_list() -> None:
    torch.manual_seed(0)
    model = GenerativeTransformer(SHAPE, LeakyEncoder(3, 8, 16))
    model.tokens.weight.requires_grad_(False)
    body, encoder, tables, matrices = split_parameters(model)
    assert [id(one) for one in encoder] == [id(model.encoder.next.weight)]
    assert tables == []
    assert {id(one) for one in body} == {
        id(one)
        for name, one in model.named_parameters()
        if not name.startswith(("encoder", "tokens"))
        and not (name.startswith("body") and one.ndim == 2)
    }
    assert len(matrices) == 2 * 4
    assert {one.shape for one in matrices} == {(48, 16), (16, 16), (64, 16), (16, 64)}


def test_optimisers_of_models_without_tables_or_matrices() -> None:
    (only,) = optimisers(Line(), TrainConfig(matrix_lr=0.02))
    assert [len(group["params"]) for group in only.param_groups] == [1]
    torch.manual_seed(0)
    model = GenerativeTransformer(SHAPE)
    dense, muon = optimisers(model, TrainConfig(matrix_lr=0.02))
    assert len(dense.param_groups) == 1
    assert len(muon.param_groups[0]["params"]) == 8
    assert len(dense.param_groups[0]["params"]) == len(list(model.parameters())) - 8
    assert dense.param_groups[0]["fused"] is True
    assert muon.param_groups[0]["momentum"] == 0.95


def test_training_draws_its_batches_by_the_seed_of_the_config() -> None:
    codes = np.random.default_rng(0).integers(8, size=(30, 3))
    pieces = {2: np.arange(30).reshape(15, 2)}
    config = TrainConfig(steps=2, items_per_batch=6, seed=4, lr=1e-9)
    torch.manual_seed(0)
    model = GenerativeTransformer(SHAPE)
    batches = endless(pieces, 6, np.random.default_rng(4))
    wanted = [next_code_loss(model, torch.from_numpy(codes[next(batches)])) for _ in range(2)]
    found = train(model, pieces, codes, config, at=(1,))
    assert found.losses == pytest.approx([one.item() for one in wanted], rel=1e-5)
    assert found.evaluations == {}
    seen = train(model, pieces, codes, config, evaluate=lambda one: one is model, at=(2,))
    assert seen.evaluations == {2: True}


# ── optimisers ──────────────────────────────────────────────────────────────────────────────────
def test_row_adam_takes_the_steps_of_adam_on_the_rows_that_were_looked_up() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    with torch.no_grad():
        table.weight.fill_(1.0)
    other = nn.Embedding(3, 2, sparse=True)
    first, second = 0.5, 0.75
    optimiser = RowAdam([other.weight, table.weight], 0.1, betas=(first, second), eps=0.25)
    w = mean = square = 0.0
    w = 1.0
    for step, slopes in enumerate([(2.0, 1.0), (-1.0,), (4.0,)], start=1):
        optimiser.zero_grad()
        sum((table(torch.tensor([3])) * slope).sum() for slope in slopes).backward()
        optimiser.step()
        grad = sum(slopes)
        mean, square = first * mean + (1 - first) * grad, second * square + (1 - second) * grad**2
        rate = 0.1 * (1 - second**step) ** 0.5 / (1 - first**step)
        w -= rate * mean / (square**0.5 + 0.25)
        assert table.weight[3].tolist() == pytest.approx([w, w], rel=1e-6)
    assert (table.weight[[0, 1, 2, 4]] == 1).all()
    assert optimiser.state[table.weight]["steps"] == 3
    assert optimiser.state[table.weight]["moments"].shape == (5, 4)


def test_a_small_gradient_turns_a_matrix_as_far_as_a_large_one() -> None:
    torch.manual_seed(0)
    grad = torch.randn(4, 9)

    def step(scale):
        matrix = nn.Parameter(torch.zeros(4, 9))
        matrix.grad = scale * grad
        Muon([matrix], lr=1.0).step()
        return matrix.detach()

    assert torch.allclose(step(1e-4), step(1.0), atol=1e-5)
    assert torch.allclose(step(1e-4), step(1e3), atol=1e-5)
    assert not step(0.0).any()
    assert step(1.0).abs().max() > 0.1


def test_muon_looks_ahead_and_decays() -> None:
    torch.manual_seed(0)
    grads = [torch.randn(5, 5) for _ in range(3)]
    matrix = nn.Parameter(torch.eye(5))
    optimiser = Muon([matrix], lr=0.1, weight_decay=0.5, momentum=0.75)
    mean, wanted = torch.zeros(5, 5), torch.eye(5)
    for grad in grads:
        mean = 0.75 * mean + 0.25 * grad
        ahead = (0.25 * grad + 0.75 * mean).double()
        left, values, right = torch.linalg.svd(ahead)
        values = values / values.norm()
        for _ in range(5):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        wanted = wanted * (1 - 0.1 * 0.5) - 0.1 * (left @ torch.diag(values) @ right)
        matrix.grad = grad.clone()
        optimiser.step()
        assert torch.allclose(matrix.double(), wanted, atol=1e-4)


# ── transformers ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("n_layers", [1, 3])
def test_weights_start_with_unit_scale_by_width(n_layers) -> None:
    torch.manual_seed(0)
    body = CausalTransformer(128, n_layers, 4)
    assert len(body.blocks) == n_layers
    for block in body.blocks:
        spread = {name: one.std().item() for name, one in block.named_parameters() if one.ndim == 2}
        small = (2 * n_layers) ** 0.5
        assert spread == pytest.approx(
            {
                "qkv.weight": 128**-0.5, "out.weight": 128**-0.5 / small,
                "up.weight": 128**-0.5, "down.weight": 512**-0.5 / small,
            },
            rel=0.03,
        )  # fmt: skip
        assert block.qkv.weight.shape == (384, 128)
        assert block.up.weight.shape == (512, 128)
        assert block.n_heads == 4


def test_embeddings_and_heads_start_with_unit_scale() -> None:
    torch.manual_seed(0)
    model = GenerativeTransformer(
        TransformerConfig(n_levels=3, n_codes=200, max_items=90, d_model=64, n_heads=4)
    )
    assert model.tokens.weight.shape == (600, 64)
    assert model.tokens.weight.std().item() == pytest.approx(1, rel=0.02)
    assert model.places.weight.shape == (90, 64)
    assert model.places.weight.std().item() == pytest.approx(1, rel=0.03)
    assert [head.weight.shape for head in model.heads] == [(200, 64)] * 3
    for head in model.heads:
        assert head.weight.std().item() == pytest.approx(1 / 8, rel=0.03)
    assert model.offsets.tolist() == [0, 200, 400]
    assert "offsets" not in model.state_dict()
    assert len(model.body.blocks) == 2


def test_every_table_is_drawn_by_the_chapters_own_rule(monkeypatch) -> None:
    """Whatever PyTorch starts an embedding with: stored results depend on these draws."""
    drawn = []
    real = nn.init.normal_

    def spy(tensor, mean=0.0, std=1.0, **more):
        drawn.append((id(tensor), std))
        return real(tensor, mean, std, **more)

    monkeypatch.setattr(nn.init, "normal_", spy)
    torch.manual_seed(0)
    model = GenerativeTransformer(SHAPE, LeakyEncoder(3, 8, 16))
    found = dict(drawn)
    for table in (model.tokens, model.places, model.encoder.next):
        assert found[id(table.weight)] == 1
    for head in model.heads:
        assert found[id(head.weight)] == 0.25


def test_dropout_acts_in_training_alone_and_everywhere() -> None:
    torch.manual_seed(0)
    model = GenerativeTransformer(replace(SHAPE, dropout=0.5))
    codes = torch.zeros(2, 3, 3, dtype=torch.int64)
    assert {one.p for one in model.modules() if isinstance(one, nn.Dropout)} == {0.5}
    assert not torch.equal(model(codes)[1], model(codes)[1])
    model.eval()
    assert torch.equal(model(codes)[1], model(codes)[1])


def test_a_token_is_its_code_its_place_and_what_the_encoder_adds() -> None:
    torch.manual_seed(0)
    model = GenerativeTransformer(SHAPE).eval()
    codes = torch.tensor([[[1, 2, 3], [4, 5, 6]]])
    rows = model.tokens.weight[codes + torch.tensor([0, 8, 16])]
    wanted = rows + model.places.weight[:2][None, :, None]
    assert torch.allclose(model._embed(codes), wanted)
    one = model._embed(codes[:, :, :2], 4)
    assert torch.allclose(one, rows[:, :, :2] + model.places.weight[4])
    model.encoder = lambda codes, hidden: torch.ones_like(hidden)
    assert torch.allclose(model._embed(codes), wanted + 1)
    assert model.hidden(codes).shape == (1, 2, 3, 16)
    assert model.decoding(codes)._place == 2
    assert model.target_logits(codes).shape == (1, 3, 8)
    with pytest.raises(ValueError, match="0 items, expected at least 2"):
        model.target_logits(codes[:, :0])


# ── the memory ──────────────────────────────────────────────────────────────────────────────────
MEMORY = PrefixMemConfig(n_codes=16, d_model=12, d_mem=8, n_heads=2, table_size=101)


def test_the_projection_starts_with_the_spread_that_is_asked_for() -> None:
    torch.manual_seed(0)
    wide = replace(MEMORY, d_mem=64, d_model=200, init_std=0.25)
    assert PrefixMem(wide).out.weight.std().item() == pytest.approx(0.25, rel=0.03)
    one = PrefixMem(replace(MEMORY, seed=7, kind="suffix", max_order=3))
    assert one.out.weight.shape == (12, 8)
    assert one.out.bias is None
    assert not one.out.weight.any()
    assert one.table.sparse
    assert one.table.weight.shape == (3 * 2 * 101, 4)
    wanted = PrefixHash(4, 3, 2, 101, seed=7, kind="suffix").fields()
    assert one.hash.fields() == wanted
    with pytest.raises(ValueError, match="expected each value once"):
        replace(MEMORY, active_levels=(2, 2))


def test_injected_positions_among_the_first_codes() -> None:
    encoder = PrefixMem(replace(MEMORY, active_levels=(4, 2)))
    assert [encoder.positions(n) for n in (0, 1, 2, 3, 4)] == [[], [1], [1], [1, 3], [1, 3]]


@pytest.mark.parametrize(
    ("places", "length", "wanted"),
    [
        ([1], 1, [1]), ([1], 3, [1, 0, 0]), ([3], 3, [0, 0, 1]), ([2], 3, [0, 1, 0]),
        ([1, 3], 3, [1, 0, 2]), ([2, 4], 5, [0, 1, 0, 2, 0]), ([2, 3], 3, [0, 1, 2]),
        ([1, 2, 4], 4, [1, 2, 0, 3]),
    ],
)  # fmt: skip
def test_columns_stand_at_their_places(places, length, wanted) -> None:
    value = torch.arange(1.0, len(places) + 1)[None, :, None].expand(2, -1, 3)
    found = place(value, places, length)
    assert found.shape == (2, length, 3)
    assert (found == torch.tensor(wanted, dtype=torch.float32)[None, :, None]).all()


def test_weights_that_look_like_the_place_of_the_digest_are_saved_whole(tmp_path) -> None:
    """Sixteen floats of bytes 0x30 are 64 times the letter 0."""
    torch.manual_seed(0)
    encoder = PrefixMem(MEMORY)
    zeros = torch.frombuffer(bytearray(b"0000"), dtype=torch.float32).item()
    with torch.no_grad():
        encoder.table.weight.fill_(zeros)
    back = load_encoder(save_encoder(encoder, tmp_path / "x.safetensors"))
    assert torch.equal(back.table.weight, encoder.table.weight)
    assert back.hash.fields() == encoder.hash.fields()


# ── the language model ──────────────────────────────────────────────────────────────────────────
class Lm(nn.Module):
    """A language model that says what it was given: logits are its embeddings."""

    def __init__(self, rows, width):
        super().__init__()
        self.table = nn.Embedding(rows, width)
        with torch.no_grad():
            self.table.weight.copy_(torch.eye(rows, width))
        self.calls = []

    def get_input_embeddings(self):
        return self.table

    def forward(self, inputs_embeds, **options):
        self.calls.append(options)
        return SimpleNamespace(logits=inputs_embeds.roll(1, dims=-1))


def test_code_tokens_know_their_level_and_code() -> None:
    grid = np.array([[3, 1], [5, 7]])
    model = attach(Lm(9, 4), None, grid)
    assert model.level.tolist() == [0, 1, 0, 1, 0, 2, 0, 2, 0]
    assert model.code.tolist() == [0, 1, 0, 0, 0, 0, 0, 1, 0]
    assert model.n_levels == 2
    assert "level" not in model.state_dict()
    assert "code" not in model.state_dict()
    assert model.device == torch.device("cpu")
    for wrong in ([[9, 1], [5, 7]], [[3, 1], [5, 3]], [[-1, 1], [5, 7]]):
        with pytest.raises(ValueError, match="sid_token_ids"):
            attach(Lm(9, 4), None, np.array(wrong))
    assert attach(Lm(9, 4), None, np.array([[0, 1], [5, 8]])).level[8] == 2


def test_completion_takes_the_likeliest_token_again_and_again() -> None:
    lm = Lm(6, 6)  # after token t comes t + 1
    model = attach(lm, None, np.array([[4], [5]]))
    prompt = torch.tensor([[0, 1], [3, 2]])
    assert model.complete(prompt, 3).tolist() == [[2, 3, 4], [3, 4, 5]]
    assert model.complete(prompt, 1, allowed=3).tolist() == [[2], [0]]
    assert model.complete(prompt, 0).shape == (2, 0)
    assert all(call == {"logits_to_keep": 1} for call in lm.calls)


def test_every_whole_prefix_gets_its_vector_and_no_other() -> None:
    seen = []

    class Spy(nn.Module):
        def forward(self, codes, hidden):
            seen.append((codes.tolist(), hidden[:, :, 0].tolist()))
            return codes.shape[1] * torch.eye(4)[1].expand_as(hidden)

    lm = Lm(9, 4)
    with torch.no_grad():
        lm.table.weight[:, 0] = torch.arange(9.0)
    model = attach(lm, Spy(), np.array([[3, 1], [5, 7], [2, 8]]))
    tokens = torch.tensor([[0, 1, 5, 8, 5], [7, 3, 7, 0, 2]])
    plain = lm.table(tokens)
    added = (model.embed(tokens) - plain)[:, :, 1].round().tolist()
    assert added == [[0, 1, 2, 3, 0], [0, 1, 2, 0, 0]]
    assert seen == [
        ([[1], [0]], [[1], [3]]),
        ([[1, 0], [0, 1]], [[1, 5], [3, 7]]),
        ([[1, 0, 1]], [[1, 5, 8]]),
    ]
    # Where the first level is not there, the others are not either.
    assert torch.equal(model.embed(torch.tensor([[5, 8, 0]])), lm.table(torch.tensor([[5, 8, 0]])))


# ── guarantees and controls ─────────────────────────────────────────────────────────────────────
class Elsewhere(nn.Module):
    """An encoder that reads what stands in other items, or an embedding."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, codes, hidden):
        codes = codes.float()
        if self.how == "items":
            return codes.sum(dim=(1, 2), keepdim=True).unsqueeze(-1).expand_as(hidden)
        if self.how == "next item":
            return codes.roll(-1, dims=1).unsqueeze(-1).expand_as(hidden)
        if self.how == "last":
            return codes[..., -1:].unsqueeze(-1).expand_as(hidden)
        return codes.cumsum(-1).unsqueeze(-1) + 0 * hidden  # nothing but its own past


@pytest.mark.parametrize(
    ("how", "honest"), [("items", False), ("next item", False), ("last", False), ("own", True)]
)
def test_what_reads_elsewhere_is_caught(how, honest) -> None:
    codes = np.random.default_rng(0).integers(7, size=(2, 3, 4))
    assert guarantees.sees_no_further(Elsewhere(how), codes, 7, 5) == honest
    seen = []

    class Spy(nn.Module):
        def forward(self, codes, hidden):
            seen.append((codes, hidden))
            return hidden

    assert guarantees.sees_no_further(Spy(), codes, 7, 5)
    assert len(seen) == 5  # once as they are, and once for each level
    assert {hidden.shape for _, hidden in seen} == {(2, 3, 4, 5)}
    wanted = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    assert torch.equal(seen[0][1], wanted)
    for level, (changed, _) in enumerate(seen[1:]):
        own = torch.from_numpy(codes)
        assert (changed[:, 0, : level + 1] == own[:, 0, : level + 1]).all()
        assert (changed[:, 0, level + 1 :] == (own[:, 0, level + 1 :] + 1) % 7).all()
        assert (changed[:, 1:, : level + 1] == (own[:, 1:, : level + 1] + 1) % 7).all()
        assert (changed[:, 1:] < 7).all()


def test_identity_is_asked_of_a_memory_over_all_levels() -> None:
    encoder = guarantees._encoder(4, 16, 12, True)
    assert encoder.config.active_levels == (2, 3, 4)
    assert (encoder.config.max_order, encoder.config.d_model) == (4, 12)
    assert encoder.config.init_std == guarantees.TRAINED
    assert guarantees._encoder(4, 16, 12, False).config.init_std == 0
    torch.manual_seed(1)
    again = PrefixMem(encoder.config)
    assert torch.equal(encoder.table.weight, again.table.weight)


def test_identity_of_the_language_model_is_asked_between_words(monkeypatch) -> None:
    seen = {}

    def spy(lm, encoder, grid):
        seen.update(lm=lm, encoder=encoder, grid=grid)

        def attached(rows):
            seen["rows"] = rows
            return lm(input_ids=rows)

        return attached

    monkeypatch.setattr(guarantees, "attach", spy)
    codes = np.array([[[0, 1, 2], [3, 0, 1]]])
    assert guarantees.language_model_identity(codes, 4)
    config = seen["lm"].config
    assert (config.vocab_size, config.hidden_size, config.intermediate_size) == (22, 32, 64)
    assert (config.num_hidden_layers, config.num_attention_heads) == (2, 4)
    assert seen["grid"].tolist() == [[10, 11, 12, 13], [14, 15, 16, 17], [18, 19, 20, 21]]
    # A word, the first item, a word, the second.
    assert seen["rows"].tolist() == [[1, 10, 15, 20, 2, 13, 14, 19]]
    assert seen["encoder"].config.d_model == 32
    assert seen["encoder"].config.init_std == 0
    assert not seen["lm"].training


def test_the_leak_is_the_next_code() -> None:
    torch.manual_seed(0)
    leak = LeakyEncoder(3, 4, 5)
    assert leak.next.weight.shape == (12, 5)
    codes = torch.tensor([[1, 2, 3]])
    found = leak(codes, torch.zeros(1, 3, 5))
    assert torch.equal(found[0, :2], leak.next.weight[[4 + 2, 8 + 3]])
    assert not found[0, 2].any()


def test_random_rows_are_those_of_their_seed_and_keep_what_is_unknown() -> None:
    hashing = PrefixHash(3, 2, 2, 50)
    one, same, other = RandomRows(hashing), RandomRows(hashing, 0), RandomRows(hashing, 1)
    codes = np.zeros((4, 3), np.int64)
    first = one.index(codes)
    assert np.array_equal(first, same.index(codes))
    assert not np.array_equal(first, other.index(codes))
    assert (one.n_levels, one.n_slots, one.n_heads, one.table_size) == (3, 2, 2, 50)
    assert (one.n_rows, one.nested) == (200, True)
    many = one.index(np.zeros((500, 3), np.int64))[:, 2]
    assert (many.min(), many.max()) == (0, 49)

    class Unknown(PrefixHash):
        def _local(self, prefix):
            found = super()._local(prefix)
            found[0] = -1
            found[1] = 0
            return found

    drawn = RandomRows(Unknown(1, 1, 2, 50)).index(np.zeros((9, 1), np.int64))[:, 0, 0]
    assert (drawn[0] == -1).all()
    assert (drawn[1:] >= 0).all()
    assert drawn[1].any()


# ── our own tokens ──────────────────────────────────────────────────────────────────────────────
def test_codes_are_the_nearest_words_of_what_is_left() -> None:
    books = np.array([[[0.0, 0.0], [10.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]])
    model = ResidualTokenizer(books)
    assert (model.n_levels, model.n_codes) == (2, 2)
    points = np.array([[1.0, 2.0], [9.0, -3.0], [4.0, 0.5]])
    codes = [[0, 0], [1, 1], [0, 0]]
    assert model.encode(points).tolist() == codes
    assert model.encode_faiss(points).tolist() == codes
    assert model.decode(codes).tolist() == [[0, 1], [10, -1], [0, 1]]
    three = ResidualTokenizer.fit(np.array([[0.0], [6.0], [20.0]]), n_levels=2, n_codes=3, seed=0)
    assert three.codebooks.shape == (2, 3, 1)


@pytest.mark.parametrize("stale", [np.zeros((3, 4), np.int16), np.zeros((2, 4)), None])
def test_stored_embeddings_of_another_form_are_made_anew(tmp_path, monkeypatch, stale) -> None:
    monkeypatch.setattr(tokenizer, "CACHE", tmp_path)
    monkeypatch.setattr(tokenizer, "_pieces", lambda texts: bytes(range(32)))
    vectors = np.array([[0.25, 0.0004, -0.5, 1], [0, 0.0006, 0.125, -1]])
    monkeypatch.setattr(tokenizer, "_minilm", lambda texts: vectors)
    file = tmp_path / "embeddings" / f"{bytes(range(16)).hex()}.npy"
    if stale is not None:
        file.parent.mkdir()
        np.save(file, stale)
    found = tokenizer.embed(["a", "b"])
    assert found.tolist() == [[0.25, 0, -0.5, 1], [0, 1 / 1024, 0.125, -1]]
    kept = np.load(file)
    assert kept.dtype == np.int16
    assert kept.tolist() == [[256, 0, -512, 1024], [0, 1, 128, -1024]]
    monkeypatch.setattr(tokenizer, "_minilm", lambda texts: 1 / 0)
    assert tokenizer.embed(["a", "b"]).tolist() == found.tolist()


def test_embeddings_are_means_over_the_words_of_a_text(monkeypatch, tmp_path) -> None:
    """Texts of similar length together, 32 at a time; what fills a text up does not count."""
    import transformers

    asked, quiet = [], []
    kinds = {"padding": True, "truncation": True, "return_tensors": "pt"}

    def tokens(texts, **options):
        assert options == kinds
        asked.append(texts)
        longest = max(map(len, texts))
        mask = [[1] * len(one) + [0] * (longest - len(one)) for one in texts]
        return {
            "input_ids": torch.tensor([[*map(ord, one.ljust(longest, "!"))] for one in texts]),
            "attention_mask": torch.tensor(mask),
        }

    class Model(nn.Module):
        config = SimpleNamespace(hidden_size=2)

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, input_ids, attention_mask):
            assert not self.training
            assert self.scale.dtype == torch.float64
            codes = input_ids.double() - 96
            states = torch.stack([codes, torch.ones_like(codes)], dim=-1)
            return SimpleNamespace(last_hidden_state=self.scale * states)

    monkeypatch.setattr(tokenizer.data, "path", lambda *_: tmp_path / "tokenizer.json")
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda _: tokens)
    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", lambda _: Model())
    for name in ("set_verbosity_error", "disable_progress_bar"):
        monkeypatch.setattr(transformers.utils.logging, name, lambda name=name: quiet.append(name))
    texts = ["ccc", "a", "bd", *("a" * (3 + n % 2) for n in range(40))]
    found = tokenizer._minilm(texts)
    assert quiet == ["set_verbosity_error", "disable_progress_bar"]
    assert [len(one) for one in asked] == [32, 11]
    assert asked[0][:3] == ["a", "bd", "ccc"]
    means = np.array([3, 1, 3, *[1] * 40])
    wanted = np.column_stack([means, np.ones(43)]) / np.hypot(means, 1)[:, None]
    np.testing.assert_allclose(found, wanted)
    assert found.dtype == np.float64
