r"""The redundancy companion: how much of a pretrained transformer is redundant, and what can go.

The data flow is the folder listing::

    text -> batches -> activations -> moments -> similarity -> records -> report -> page
     tasks   (B, T)     (N, L, H)      (D, D)    CKA, corr      .jsonl    tables,
       \                                         clusters          /      figures
        -> dropping -> training -> finetune, distil --------------
           blocks      updates     scores    students
    activations -> probes -> selection
                  (P, C, D)  layers, neurons

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

Encoder blocks, in contrast to layers, are numbered ``0 .. n-1``: block ``b`` writes layer
``b + 1``.
"""

from lib.errors import BadInput

__all__ = ["BadInput"]
__version__ = "0.1.0"
