"""The core implementations behind *Ten Papers, Executable*.

Three floors, checked by import-linter: ``lib.core`` (data, ledger, figures, sweeps), what several
chapters share, and one package a paper. A package imports only from floors below it.
"""
