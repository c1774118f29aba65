"""The weights of SmolLM2: whole, in one step, once, and of the model that they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lib.core import data
from lib.core.data import MissingDataError
from lib.llm import checkpoint, weights


@pytest.fixture(scope="module")
def folder() -> Path:
    try:
        return checkpoint()
    except MissingDataError as error:
        pytest.skip(str(error))


def test_the_shape_is_that_of_smollm2(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    known = {"hidden_size": 576, "num_hidden_layers": 30, "vocab_size": 49152}
    assert {name: config[name] for name in known} == known
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (9, 3)


def test_it_speaks_english(folder: Path) -> None:
    """Query and key of a Llama are permuted in GGUF: wrong ones make a likelihood of noise."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert model.dtype == torch.float32
    words = AutoTokenizer.from_pretrained(folder)
    tokens = words("The capital of France is Paris. The capital of Italy is", return_tensors="pt")
    with torch.inference_mode():
        best = model(**tokens).logits[0, -1].argmax()
    assert words.decode(best).strip() == "Rome"


def test_it_is_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(weights, "quiet", lambda: pytest.fail("made again"))
    assert checkpoint() == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp


def test_without_the_wheel_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise MissingDataError(f"{name}: not installed")

    monkeypatch.setattr(data, "path", missing)
    with pytest.raises(MissingDataError, match="smollm2"):
        checkpoint()
