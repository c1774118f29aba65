"""Bounds of arguments: the last good value is taken, the first bad one refused by its name."""

import math

import numpy as np
import pytest
import torch

from lib.semantic_ids import anatomy, hashing
from lib.semantic_ids.beam import (
    BeamResult,
    CountSteps,
    MixedSteps,
    beam_search,
    by_length,
    generate,
)
from lib.semantic_ids.catalogue import SidCatalog, check_codes, check_sizes
from lib.semantic_ids.counts import NGramCounts, item_counts
from lib.semantic_ids.datasets import Examples, SidData, join_windows, leave_one_out, sample
from lib.semantic_ids.evaluation import (
    Mixture,
    item_recall,
    nll,
    popularity_tertiles,
    recall,
    shuffle_histories,
    teacher_forced,
    top,
    with_trie,
)
from lib.semantic_ids.hashing import PrefixHash, expected_rows, prefix_rows, primes
from lib.semantic_ids.intervals import Resample
from lib.semantic_ids.optim import RowAdam
from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig
from lib.semantic_ids.study import checks, expressive
from lib.semantic_ids.study.lm_arms import bleu, bleu_counts
from lib.semantic_ids.tokenizer import ResidualTokenizer
from lib.semantic_ids.training import TrainConfig, windows
from lib.semantic_ids.transformer import (
    CausalTransformer,
    GenerativeTransformer,
    TransformerConfig,
)

CODES = np.array([[0, 1], [0, 3], [2, 3], [2, 2]])
CATALOG = SidCatalog(CODES, 4)
COUNTS = NGramCounts(CODES, 4, weights=[1, 2, 3, 4])
LOGS = np.log(np.full((4, 2, 4), 0.25, np.float32))
BEAM = BeamResult(CODES[None, :3], np.array([[-1.0, -2.0, -3.0]], np.float32))
EXAMPLES = Examples(np.arange(2), (np.array([0, 1]), np.array([3])), np.array([2, 0]))
TABLE = torch.nn.Parameter(torch.zeros(3, 2))
SHARE = {
    "width": 1, "model_width": 1, "model_parameters": 1, "levels": 2, "active": 1,
}  # fmt: skip
SIZES = {"orders": 1, "heads": 1, "rows": 1, "width": 1}

REFUSED = (
    r" (is|are|has|have|hold) .*expected|outside|is not in the catalogue|more than the|nothing"
)


def hash_of(**change):
    return PrefixHash(**{"n_levels": 2, "max_order": 2, "n_heads": 2, "table_size": 64} | change)


def memory(**change):
    return PrefixMemConfig(**{"n_codes": 4, "d_mem": 4, "n_heads": 2, "table_size": 5} | change)


@pytest.mark.parametrize(
    ("call", "good", "bad"),
    [
        (lambda x: primes(1, 1, bits=x), [8, 62], [7, 63]),
        (lambda x: primes(x, 1), [1], [0]),
        (lambda x: primes(1, x), [1], [0]),
        (lambda x: primes(1, 1, seed=x), [0], [-1]),
        (lambda x: hash_of(n_levels=x), [1, 64], [0, 65]),
        (lambda x: hash_of(max_order=x), [1, 63, 2**31], [0, 2**31 + 1]),
        (lambda x: hash_of(n_heads=x), [1, 64], [0, 65]),
        (lambda x: hash_of(table_size=x), [2, 65, 2**31], [1, 2**31 + 1]),
        (lambda x: hash_of(seed=x), [0, 2**63], [-1, 2**64]),
        (lambda x: hash_of(multipliers=np.full((2, 2), x)), [1, 2**62], [0]),
        (lambda x: expected_rows(x, 2), [1], [0]),
        (lambda x: expected_rows(1, x), [2], [1]),
        (lambda x: hash_of().index([[0, x]]), [0], [-1]),
        (lambda x: prefix_rows(hash_of(), np.array([[x]])), [0], [-1]),
        (lambda x: check_codes([[0]], x), [1], [0]),
        (lambda x: check_codes([[x]], 3), [0, 2], [-1, 3]),
        (lambda x: check_sizes(width=x), [1], [0]),
        (lambda x: CATALOG.level(x), [0, 2], [-1, 3]),
        (lambda x: CATALOG.mask(x, [0]), [1, 2], [0, 3]),
        (lambda x: CATALOG.mask(2, [x]), [-1, 1], [-2, 2]),
        (lambda x: CATALOG.step(2, [x], [0]), [-1, 1], [-2, 2]),
        (lambda x: CATALOG.sid(x), [0, 3], [-1, 4]),
        (lambda x: CATALOG.copy().delete([x]), [0, 3], [-1, 4]),
        (lambda x: item_counts([], x), [1], [0]),
        (lambda x: NGramCounts([[0]], 1, weights=[x]), [0.5, 2**53], [0, 2**53 + 2]),
        (lambda x: NGramCounts([[0]], 1, weights=[1], alpha=x), [1e-9], [0, -1]),
        (lambda x: COUNTS.predict([[x]]), [0, 3], [-1, 4]),
        (lambda x: COUNTS.predict(np.zeros((1, x), int)), [0, 1], [2]),
        (lambda x: sample(EXAMPLES, x), [1], [0]),
        (lambda x: Examples([x], ([0],), [0]), [0], [-1]),
        (lambda x: Examples([0], ([0],), [x]), [0], [-1]),
        (lambda x: leave_one_out([np.arange(x)]), [3], [2]),
        (lambda x: join_windows([([1], 2)], width=x), [1], [0]),
        (lambda x: top(LOGS, CODES, x), [1, 5], [0]),
        (lambda x: nll(LOGS[:1], np.array([[0, x]])), [0, 3], [-1, 4]),
        (lambda x: popularity_tertiles(CODES, CODES, x), [1, 2], [0, 3]),
        (lambda x: popularity_tertiles(np.array([[x]]), np.array([[0]]), 1), [0], [-1]),
        (lambda x: popularity_tertiles(np.array([[0]]), np.array([[x]]), 1), [0], [-1]),
        (lambda x: recall(BEAM, CODES[:1], [x]), [1, 3], [0, 4]),
        (lambda x: recall(BEAM, np.array([[0, x]]), [1]), [0, 9], [-1]),
        (lambda x: item_recall(BEAM, [x], CATALOG, [1]), [0, 3], [-1, 4]),
        (lambda x: shuffle_histories(EXAMPLES, x), [0], [-1]),
        (lambda x: Mixture((x,)), [0, 5], [-1e-9]),
        (lambda x: Mixture((1,), (x,)), [1e-9], [0]),
        (lambda x: Resample(x, 1), [1], [0]),
        (lambda x: Resample(1, x), [1], [0]),
        (lambda x: Resample(1, 1, draws=x), [1], [0]),
        (lambda x: Resample(1, 1, seed=x), [0], [-1]),
        (lambda x: RowAdam([TABLE], x), [1e-9], [0, -1]),
        (lambda x: RowAdam([TABLE], 0.1, eps=x), [1e-12], [0, -1]),
        (lambda x: RowAdam([TABLE], 0.1, betas=(x, 0.5)), [0, 0.99], [-0.01, 1]),
        (lambda x: RowAdam([TABLE], 0.1, betas=(0.5, x)), [0, 0.99], [-0.01, 1]),
        (lambda x: windows([np.arange(4)], x), [2], [1]),
        (lambda x: TrainConfig(steps=x), [1], [0]),
        (lambda x: TrainConfig(items_per_batch=x), [2], [1]),
        (lambda x: TrainConfig(warmup=x), [0], [-1]),
        (lambda x: TrainConfig(seed=x), [0], [-1]),
        (lambda x: TrainConfig(lr=x), [1e-9], [0]),
        (lambda x: TrainConfig(memory_factor=x), [1e-9], [0]),
        (lambda x: TrainConfig(matrix_lr=x), [0], [-1e-9]),
        (lambda x: TrainConfig(weight_decay=x), [0], [-1e-9]),
        (lambda x: TrainConfig(average=x), [0, 0.999], [-1e-9, 1]),
        (lambda x: TrainConfig(clip=x), [1e-9, math.inf], [0, -1, -math.inf]),
        (lambda x: CausalTransformer(8, 1, 2, x), [0, 0.999], [-1e-9, 1]),
        (lambda x: CausalTransformer(x, 1, 2), [2, 4], [0, 3]),
        (lambda x: CausalTransformer(2, x, 2), [1], [0]),
        (lambda x: CausalTransformer(2, 1, x), [1, 2], [0]),
        (lambda x: TransformerConfig(dropout=x), [0, 0.999], [-1e-9, 1]),
        (lambda x: TransformerConfig(max_items=x), [1], [0]),
        (lambda x: TransformerConfig(n_codes=x), [1], [0]),
        (lambda x: TransformerConfig(n_layers=x), [1], [0]),
        (lambda x: TransformerConfig(n_heads=x), [1], [0]),
        (lambda x: memory(table_size=x), [2], [1]),
        (lambda x: memory(seed=x), [0], [-1]),
        (lambda x: memory(init_std=x), [0], [-1e-9]),
        (lambda x: memory(d_mem=x), [2, 4], [0, 3]),
        (lambda x: memory(active_levels=(x,)), [2, 4], [1, 5]),
        (lambda x: by_length(EXAMPLES, x), [1], [0]),
        (lambda x: beam_search(CountSteps(COUNTS), 2, x), [1], [0]),
        (lambda x: beam_search(CountSteps(COUNTS), x, 1), [1, 2], [0]),
        (lambda x: MixedSteps(CountSteps(COUNTS), COUNTS, (x, 1)), [0], [-1e-9]),
        (lambda x: MixedSteps(CountSteps(COUNTS), COUNTS, (1, 1), (x, 1)), [1e-9], [0]),
        (lambda x: anatomy.code_use(np.zeros((1, 1), int), x), [2], [1]),
        (lambda x: anatomy.determinism(CODES, 4, [x, 0, 0, 1]), [0], [-1]),
        (
            lambda x: ResidualTokenizer.fit(np.eye(3), n_levels=1, n_codes=2, seed=0, steps=x),
            [1],
            [0],
        ),
        (lambda x: ResidualTokenizer.fit(np.eye(3), n_levels=x, n_codes=2, seed=0), [1], [0]),
        (lambda x: ResidualTokenizer.fit(np.eye(3), n_levels=1, n_codes=x, seed=0), [1, 3], [0, 4]),
        (lambda x: ResidualTokenizer.fit(np.eye(3), n_levels=1, n_codes=2, seed=x), [0], [-1]),
        (lambda x: ResidualTokenizer(np.zeros((1, x, 2))).encode_faiss(np.eye(2)), [2, 4], [1, 3]),
        (
            lambda x: ResidualTokenizer(np.zeros((1, 2, 2))).encode_faiss(np.eye(2), beam=x),
            [1],
            [0],
        ),
        (lambda x: ResidualTokenizer(np.zeros((1, 2, 2))).decode([[x]]), [0, 1], [-1, 2]),
        (lambda x: checks.user_interval([0.0, 1.0], seed=x), [0], [-1]),
        (lambda x: checks.user_interval([0.0, 1.0], n_resamples=x), [1], [0]),
        (lambda x: checks.user_interval(np.zeros(x)), [2], [1]),
        (
            lambda x: checks.zero_confused(
                hash_of(n_levels=3, kind="full"), np.zeros((1, x), np.int64)
            ),
            [1, 2],
            [0, 3],
        ),
        (lambda x: checks.scrambled(SidData("x", CODES, 4, ([0, 1, 2],)), seed=x), [0], [-1]),
        (lambda x: expressive.all_prefixes(x, 1), [1], [0]),
        (lambda x: expressive.all_prefixes(2, x), [1], [-1]),
        (lambda x: expressive.additive([[0]], [0], n_codes=x), [2], [1]),
        (lambda x: expressive.additive([[0]], [x], n_codes=2), [0, 1], [-1, 2]),
        (lambda x: expressive.represented_by_rows([0], [0], n_codes=x), [1], [0]),
        (lambda x: expressive.represented_by_rows([x], [0], n_codes=1), [0, 3], [-1]),
        (lambda x: expressive.represented_by_rows([0], [x], n_codes=2), [0, 1], [-1, 2]),
        *(
            (lambda x, name=name: expressive.encoder_parameters(**{**SIZES, name: x}), [1], [0])
            for name in SIZES
        ),
        *(
            (lambda x, name=name: expressive.projection_share(**{**SHARE, name: x}), [1], [0])
            for name in ("width", "model_width", "levels")
        ),
        (
            lambda x: expressive.projection_share(**{**SHARE, "model_parameters": x}),
            [1e-9],
            [0],
        ),
        (lambda x: expressive.projection_share(**{**SHARE, "active": x}), [0, 2], [-1, 3]),
        (lambda x: bleu_counts([["a"]], [["a"]], order=x), [1], [0]),
        (lambda x: bleu(np.array([[x, 1, 1, 1]])), [0], [-1]),
    ],
)  # fmt: skip
def test_bounds(call, good, bad) -> None:
    for value in good:
        call(value)
    for value in bad:
        with pytest.raises(ValueError, match=REFUSED):
            call(value)


def test_shapes_that_are_none_are_refused() -> None:
    for rows in (torch.tensor(3), torch.zeros(2, 0, dtype=torch.int64)):
        with pytest.raises(ValueError, match="prefix has shape"):
            hash_of().rows(rows)
    with pytest.raises(ValueError, match=r"codes have shape \(\), expected"):
        hash_of().index(3)
    assert hash_of().index(np.zeros((0, 2))).shape == (0, 2, 2, 2)
    assert hash_of().rows(torch.zeros(0, 2, dtype=torch.int64)).shape == (0, 2, 2)
    empty = Examples(np.zeros(0), (), np.zeros(0))
    assert len(empty) == 0
    with pytest.raises(ValueError, match="rows is empty"):
        hashing.excess(np.zeros((0, 2), np.int64))


@pytest.mark.parametrize("logs", [LOGS[0], LOGS.astype(np.int64), LOGS[:0]])
def test_what_is_no_table_of_log_probabilities_is_refused(logs) -> None:
    with pytest.raises(ValueError, match="log_probs have shape"):
        nll(logs, CODES[: len(logs)])


def test_encoders_and_hashes_of_other_shapes_are_refused() -> None:
    for wrong in (PrefixHash(3, 3, 2, 5), PrefixHash(4, 4, 3, 5)):
        with pytest.raises(ValueError, match="expected 4 levels and heads that divide 4"):
            PrefixMem(memory(), wrong)
    assert PrefixMem(memory(), PrefixHash(4, 4, 1, 5)).table.weight.shape == (20, 4)
    full = PrefixHash(3, 1, 2, 64, kind="full")
    assert prefix_rows(full, np.array([[1, 2, 3]])).shape == (1, 2)  # order does not cut it
    with pytest.raises(ValueError, match="4 codes, more than the hash reads"):
        prefix_rows(full, np.array([[1, 2, 3, 3]]))


def test_a_target_must_be_an_id_of_the_catalogue_and_may_be_the_first() -> None:
    assert with_trie(LOGS, CODES, CATALOG).shape == (4, 2, 4)
    with pytest.raises(ValueError, match="an ID that no item has"):
        with_trie(LOGS, CODES + [0, -1] * (CODES > 2), CATALOG)


def test_batches_and_beams_of_one_are_enough_and_none_is_refused() -> None:
    torch.manual_seed(0)
    shape = TransformerConfig(n_levels=2, n_codes=4, max_items=4, d_model=8, n_heads=2, n_layers=1)
    model = GenerativeTransformer(shape).eval()
    one, many = (teacher_forced(model, EXAMPLES, CODES, batch=n) for n in (1, 9))
    np.testing.assert_allclose(one, many, atol=1e-6)
    assert generate(model, EXAMPLES, CODES, 1, batch=1).codes.shape == (2, 1, 2)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"batch is {wrong}"):
            teacher_forced(model, EXAMPLES, CODES, batch=wrong)
        with pytest.raises(ValueError, match=f"batch is {wrong}"):
            generate(model, EXAMPLES, CODES, 1, batch=wrong)
        with pytest.raises(ValueError, match=f"width is {wrong}"):
            generate(model, EXAMPLES, CODES, wrong)
    with pytest.raises(ValueError, match="codes has shape"):
        teacher_forced(model, EXAMPLES, CODES[:, :1])
