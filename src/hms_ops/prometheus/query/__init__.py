"""PromQL asked of this engine: `/api/v1` as Grafana's Prometheus data source calls it.

    text ──parse──► tree ──evaluation──► selectors ──reader──► Samples (rows of history, side by side)
                                    └──► windows, rates, pointwise, operators, grouping, buckets ──► Instant ──► answer

The engine answers as a Prometheus would that had been sent its history by remote write (docs/scale-out.md): the same
names, one sample a row, at the last millisecond of its step. Beside that there are the names in `names.py`.
Everything is numpy over all series and all times at once. Not here: rule files and their unit tests, which are told in
our own language (hms_ops.prometheus), and HTTP (http/prometheus.py).
"""
