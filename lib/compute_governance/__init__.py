"""Does Distributed Training Undermine Compute Governance? (arXiv 2605.29359).

A regulator's analysis: how robust a threshold on computing clusters is, what a countermeasure buys
and what burden it causes. Written from the formulas of the paper's repository, which has no
licence; nothing of its code is used.
"""
