"""Numba kernels over the store's columns; see each module. Importing this package imports no kernel."""
