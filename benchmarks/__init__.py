"""Figures of HMS-OPS, each beside its limit or a contender in the same run: `python -m benchmarks`, or `make bench`.

`figure.py` is what a measurement returns, and how long it may take. One question a module: `decode`, `receive`,
`calls`, `tick` (with `fleet`, its engine), `memory`, `start`, `page`, `ledger`; `others` reads what pytest-benchmark
files measure. `native.py` and `limits/` are the limits in C, `apart.py` runs a function in a process of its own,
`report.py` writes the table. The `bench_*.py` ask more and in detail: `python -m pytest benchmarks/bench_decode.py`.
"""
