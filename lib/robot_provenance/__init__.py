"""Replicable Simulation-Based Robot Validation through Provenance (arXiv 2605.29973)."""
