"""Search strategies: which architectures to evaluate next."""
