r"""How much of a pretrained transformer is redundant, and what can go: the functions of the pages.

One letter code in every comment, docstring and error:

====== ==========================================================
``B``  sentences
``T``  tokens of a padded sentence
``N``  rows: words or sentences
``L``  layers, *including* the embedding layer, which is layer 0
``H``  neurons of one layer
``D``  neurons of all layers, ``D = L * H``; neuron ``d`` is neuron ``d % H`` of layer ``d // H``
``C``  classes
====== ==========================================================

Blocks, in contrast to layers, are numbered ``0 .. n-1``: block ``b`` writes layer ``b + 1``.
"""

from lib.errors import BadInput

__all__ = ["BadInput"]
__version__ = "0.1.0"
