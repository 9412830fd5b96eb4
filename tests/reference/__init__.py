"""Slow, obvious twins of the kernels, the oracle of their tests. Plain Python and numpy; nothing of hms_ops inside."""
