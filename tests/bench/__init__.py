"""Speed and size, measured beside other packages and beside the papers' released loop.

``make bench`` runs :mod:`tests.bench.run` and writes one record per device; the benchmark page
draws it.
"""
