"""Speed and size, measured beside other packages and beside the papers' released loop.

``make bench`` runs :mod:`lib.bench.run` and writes one record per device; the benchmark page draws
it through :mod:`lib.bench.report`. The library itself never imports this package.
"""
