"""Autobidding auctions under coarser and finer prediction models (arXiv 2605.31036)."""
