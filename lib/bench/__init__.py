"""Speed and size, measured beside what one would otherwise use: NeuroX and pytorch-cka.

``make bench`` runs :mod:`lib.bench.run` and writes one record per device; the benchmark page draws
it through :mod:`lib.bench.report`. The library itself never imports this package.
"""
