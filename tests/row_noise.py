"""A model for what must not depend on batches or ranks, importable as ``row_noise``.

It imports little, since each rank of a distributed test waits for it.
"""

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput


class RowNoise(nn.Module):
    """A classifier with noise in the place of dropout that depends on the row's content and on the pass alone."""

    def __init__(self, num_labels=2):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(100, 16)
        self.layer = nn.ModuleList(nn.Linear(16, 16) for _ in range(6))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, num_labels)
        self.double()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask, labels=None):
        total, again = len(input_ids), range(len(input_ids) // 2, 0, -1)
        repeated = next((n for n in again if torch.equal(input_ids[:n], input_ids[total - n :])), 0)
        which = torch.arange(total) >= total - repeated
        x = (self.embed(input_ids) * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
        for i, layer in enumerate(self.layer):
            noise = torch.sin(input_ids.sum(1).double() * (i + 1) + 3.0 * which)[:, None]
            x = torch.tanh(layer(x)) * (1 + 0.3 * noise)
        return SequenceClassifierOutput(logits=self.head(self.norm(x)))
