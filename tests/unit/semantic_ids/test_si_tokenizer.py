import numpy as np
import pytest

from lib.semantic_ids import tokenizer
from lib.semantic_ids.study import films
from lib.semantic_ids.tokenizer import ResidualTokenizer


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 8))
    return centres[rng.integers(12, size=400)] + 0.2 * rng.normal(size=(400, 8))


def error(model, points) -> float:
    return float(((points - model.decode(model.encode(points))) ** 2).sum(axis=1).mean())


def test_error_falls_from_level_to_level(points) -> None:
    errors = [
        error(ResidualTokenizer.fit(points, n_levels=n, n_codes=8, seed=0), points)
        for n in (1, 2, 3)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_same_seed_same_code_books(points) -> None:
    one, two, other = (
        ResidualTokenizer.fit(points, n_levels=2, n_codes=8, seed=seed) for seed in (0, 0, 1)
    )
    assert (one.codebooks == two.codebooks).all()
    assert (one.codebooks != other.codebooks).any()


def test_faiss_agrees_and_a_beam_finds_no_worse(points) -> None:
    model = ResidualTokenizer.fit(points, n_levels=3, n_codes=8, seed=0)
    greedy = model.encode(points)
    assert (model.encode_faiss(points) == greedy).mean() > 0.999
    beam = model.encode_faiss(points, beam=8)
    found = ((points - model.decode(beam)) ** 2).sum(axis=1).mean()
    assert found <= error(model, points) + 1e-6
    swapped = ResidualTokenizer(model.codebooks[[1, 0, 2]])
    assert (swapped.encode_faiss(points) == greedy).mean() < 0.9


def test_training_is_about_as_good_as_that_of_faiss() -> None:
    import faiss

    cloud = np.random.default_rng(0).normal(size=(500, 6))
    ours = ResidualTokenizer.fit(cloud, n_levels=3, n_codes=8, seed=0)
    quantiser = faiss.ResidualQuantizer(6, 3, 3)
    quantiser.cp.seed, quantiser.max_beam_size = 0, 1
    quantiser.train(cloud.astype(np.float32))
    books = faiss.vector_to_array(quantiser.codebooks).reshape(3, 8, 6)
    assert error(ours, cloud) == pytest.approx(error(ResidualTokenizer(books), cloud), rel=0.2)


@pytest.mark.parametrize("n_codes", [3, 300])
def test_code_books_of_any_size(n_codes) -> None:
    """As many codes as there are points describe each of them."""
    points = np.random.default_rng(1).normal(size=(n_codes, 2))
    model = ResidualTokenizer.fit(points, n_levels=1, n_codes=n_codes, seed=0)
    codes = model.encode(points)
    assert sorted(codes[:, 0].tolist()) == list(range(n_codes))
    assert np.allclose(model.decode(codes), points)
    with pytest.raises(ValueError, match="a power of two for faiss"):
        model.encode_faiss(points)


def test_more_codes_than_distinct_points() -> None:
    same = np.ones((5, 2))
    model = ResidualTokenizer.fit(same, n_levels=2, n_codes=3, seed=0)
    assert np.allclose(model.decode(model.encode(same)), same)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.full((4, 2), np.nan)}, "is nan, expected a finite number"),
        ({"points": np.zeros((0, 2))}, "points is empty"),
        ({"n_codes": 5}, "n_codes is 5"),
        ({"n_levels": 0}, "n_levels is 0"),
        ({"n_codes": 2.5}, "n_codes is 2.5"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_training_is_named(change, message) -> None:
    options = {"points": np.eye(4), "n_levels": 2, "n_codes": 2, "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        ResidualTokenizer.fit(options.pop("points"), **options)


def test_bad_use_is_named() -> None:
    model = ResidualTokenizer.fit(np.eye(4), n_levels=2, n_codes=2, seed=0)
    with pytest.raises(ValueError, match=r"points has shape \(1, 3\), expected shape \(n, 4\)"):
        model.encode(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="beam is 0"):
        model.encode_faiss(np.eye(4), beam=0)
    with pytest.raises(ValueError, match="codebooks has shape"):
        ResidualTokenizer(np.zeros((2, 2)))


def test_embeddings_are_cached_by_content(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tokenizer, "CACHE", tmp_path)
    texts = ["a red apple", "a green apple", "a steam engine"]
    first = tokenizer.embed(texts)
    assert first.shape == (3, 384)
    assert (first * tokenizer.GRID == np.rint(first * tokenizer.GRID)).all()
    assert np.abs((first**2).sum(axis=1) - 1).max() < 0.05
    near, far = first[0] @ first[1], first[0] @ first[2]
    assert near > far
    (file,) = (tmp_path / "embeddings").iterdir()
    calls = []
    monkeypatch.setattr(tokenizer, "_minilm", lambda texts: calls.append(texts))
    assert (tokenizer.embed(texts) == first).all()
    assert calls == []
    assert file.suffix == ".npy"


def test_bad_texts_are_named() -> None:
    with pytest.raises(ValueError, match="texts is "):
        tokenizer.embed([])
    with pytest.raises(ValueError, match=r"texts\[1\] is ' '"):
        tokenizer.embed(["a", " "])


def test_films() -> None:
    table = films.films()
    assert table["movieId"].is_monotonic_increasing
    assert table["text"][0] == "Toy Story. Genres: Adventure, Animation, Children, Comedy, Fantasy"
    with pytest.raises(ValueError, match="no film has so many"):
        films.films(10**6)


def test_movielens_is_a_catalogue_with_histories(monkeypatch) -> None:
    # The vectors are not what is tested here, and embedding takes seconds.
    rng = np.random.default_rng(0)
    monkeypatch.setattr(films, "embed", lambda texts: rng.normal(size=(len(texts), 4)))
    data = films.movielens.__wrapped__(2, 8, seed=1)
    table = films.films()
    assert (data.n_items, data.n_levels, data.n_codes) == (len(table), 2, 8)
    assert min(map(len, data.sequences)) >= 5
    ratings = films._ratings()
    first = ratings[ratings["userId"] == ratings["userId"].min()]
    first = first[first["movieId"].isin(table["movieId"])].sort_values(["timestamp", "movieId"])
    assert table["movieId"].to_numpy()[data.sequences[0]].tolist() == first["movieId"].tolist()
    split = data.split()
    assert split.test.targets[0] == data.sequences[0][-1]


def test_short_texts_beside_long_ones_are_embedded_as_alone(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tokenizer, "CACHE", tmp_path)
    texts = ["ant", "a red apple that fell from the tree behind the old house", "one more text"]
    together = tokenizer.embed(texts)
    alone = np.concatenate([tokenizer.embed([text]) for text in texts])
    assert np.abs(together - alone).max() <= 1 / tokenizer.GRID
    assert np.abs(together[0] - together[1]).max() > 0.05


def test_the_file_of_films_is_verified_before_it_is_read(monkeypatch) -> None:
    def missing(name, *_):
        raise RuntimeError(f"{name} was asked for")

    monkeypatch.setattr(films.data, "path", missing)
    with pytest.raises(RuntimeError, match="movielens was asked for"):
        films._ratings.__wrapped__()
