"""The words of a text alone in a model's embeddings, for as long as it trains on that text."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lib.encoders import causal


class Words:
    """While a model trains, its embeddings hold the words of the text alone.

    The others never get a gradient, and AdamW would spend most of its time on their zeros
    (all-MiniLM-L6-v2: 11.7 of 22.7 million parameters are word embeddings). The result is the same
    but for rounding. Words are not decayed meanwhile if they do not occur. A model that also says
    words keeps all of them, and so does a decoder, whose head finds the last token by its number.

    ``number`` (vocabulary,) is the row of each token that is there.
    """

    def __init__(self, model, ids: Sequence[Sequence[int]], padding: int):
        self.model, self.whole = model, model.get_input_embeddings()
        weight, frozen = self.whole.weight.detach(), not self.whole.weight.requires_grad
        if model.get_output_embeddings() is not None or causal(model.config):
            self.few, self.number = self.whole, torch.arange(len(weight))
            return
        self.used = torch.tensor(sorted({padding}.union(*ids)))
        self.number = torch.zeros(len(weight), dtype=torch.long)
        self.number[self.used] = torch.arange(len(self.used))
        padded = None if self.whole.padding_idx is None else int(self.number[padding])
        few = weight[self.used.to(weight.device)].clone()
        self.few = torch.nn.Embedding.from_pretrained(few, freeze=frozen, padding_idx=padded)
        model.set_input_embeddings(self.few)

    def put_back(self) -> None:
        """Give the model its whole vocabulary again, with what the occurring words learned."""
        if self.few is self.whole:
            return
        with torch.no_grad():
            self.whole.weight[self.used.to(self.whole.weight.device)] = self.few.weight
        self.model.set_input_embeddings(self.whole)
