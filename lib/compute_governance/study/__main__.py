"""Train under torchrun, on one machine or several, with gloo or NCCL.

    torchrun --nproc-per-node 2 -m lib.compute_governance.study --every 20 --codec int4

``--profile full`` takes a model of some 10 to 100 million parameters, for GPUs (``--device cuda``).
"""

from __future__ import annotations

import argparse
import os
import sys

from lib.compute_governance.codecs import Codec, Fp16, Fp32, Int4, Int8, TopK
from lib.compute_governance.lowcomm import (
    DataParallel,
    DiLoCo,
    Inner,
    Settings,
    Transformer,
    train,
)
from lib.compute_governance.lowcomm.strategies import Strategy
from lib.compute_governance.study.patterns import Gossip
from lib.compute_governance.study.text import manual_pages, read_corpus
from lib.core import data

__all__ = ["main"]

CODECS: dict[str, Codec] = {
    "fp32": Fp32(),
    "fp16": Fp16(),
    "int8": Int8(),
    "int4": Int4(),
    "top-k": TopK(),
}
MODELS = {
    "smoke": Transformer(width=16, layers=1, context=16),
    "book": Transformer(width=64, layers=1),
    "full": Transformer(width=512, layers=8, heads=8, context=256),  # 25 million parameters
}


def main(arguments: list[str] | None = None) -> int:
    """Be one worker of a run; the first prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m lib.compute_governance.study")
    parser.add_argument(
        "--strategy", choices=("data-parallel", "diloco", "gossip"), default="diloco"
    )
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--outer-lr", type=float, default=1.0)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--codec", choices=sorted(CODECS), default="fp32")
    parser.add_argument("--error-feedback", action="store_true")
    parser.add_argument("--profile", choices=sorted(MODELS), default="book")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--text", help="a registered text such as tinyshakespeare")
    options = parser.parse_args(arguments)
    model, codec = MODELS[options.profile], CODECS[options.codec]
    recipe: Strategy
    if options.strategy == "data-parallel":
        recipe = DataParallel()
    elif options.strategy == "gossip":
        recipe = Gossip(options.every, options.outer_lr, options.momentum, codec=codec)
    else:
        recipe = DiLoCo(
            options.every, options.outer_lr, options.momentum, codec, options.error_feedback
        )
    corpus = (
        read_corpus(data.path(options.text), model.context)
        if options.text
        else manual_pages(model.context)
    )
    settings = Settings(Inner(lr=options.lr, warmup=20), options.batch, device=options.device)
    try:
        history = train(model, corpus, recipe, None, options.steps, options.seed, settings)
    except ValueError as error:
        parser.error(str(error))
    if os.environ["RANK"] == "0":
        print(
            f"loss {history.loss:.3f}, {history.tokens} tokens, "
            f"{history.sent:.0f} bytes sent by a worker, {os.environ['WORLD_SIZE']} workers"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
