"""Floor 1: the data registry, the run profile, the ledger, the figure style and sweeps."""
