"""What a landscape holds, counted in bytes of tensors."""

import gc

import torch

from helpers import make_batch, make_model
from rosetune.analysis.directions import random_direction
from rosetune.analysis.landscape import landscape_rows
from rosetune.analysis.surface import grid_axis
from rosetune.analysis.weights import MeanLoss


def alive() -> dict[int, int]:
    """By address the bytes of all storages that a tensor holds."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor)]
    tensors += [tensor.grad for tensor in tensors if tensor.grad is not None]
    storages = [tensor.untyped_storage() for tensor in tensors]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def test_model_and_landscape_take_at_most_three_times_the_model() -> None:
    """Between two rows, with the model itself, one copy and two directions; the word embedding is read in part."""
    # As wide as it is, the scales of the rows are a hundredth of them.
    model, batch = make_model(hidden_size=128, intermediate_size=256), make_batch()
    own = sum(parameter.nbytes for parameter in model.parameters())
    before = alive()
    of, axis = MeanLoss(model, [batch]), grid_axis(0.2, 3)
    directions = random_direction(of, 1), random_direction(of, 2)
    rows = landscape_rows(of, directions, axis, axis)
    held = []
    for _ in rows:
        now = alive()
        held.append(sum(size for at, size in now.items() if at not in before))
    assert len(held) == 3
    assert held[0] == held[1] == held[2]  # nothing piles up
    assert own < held[0] <= 2 * own
