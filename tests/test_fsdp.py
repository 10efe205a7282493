"""RobustTrainer under FSDP2: two ranks that are killed and resumed."""

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from fsdp_ranks import STEPS, life


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """By rank, what the run that was never interrupted and those that were came to."""
    folder = tmp_path_factory.mktemp("lives")
    with pytest.raises(mp.ProcessExitedException, match="SIGKILL"):
        mp.spawn(life, args=(str(folder), False), nprocs=2)
    mp.spawn(life, args=(str(folder), True), nprocs=2)
    files = [[folder / f"{name}-{rank}.pt" for name in ("whole", "resumed")] for rank in range(2)]
    return [{k: v for file in each for k, v in torch.load(file, weights_only=False).items()} for each in files]


@pytest.mark.slow
@pytest.mark.parametrize("cut", ["killed", "stopped"])
def test_a_resumed_run_ends_as_if_it_had_never_been_interrupted(lives, cut):
    """Killed with checkpoints of shards, stopped with whole ones; both in the middle of what a mask is in force."""
    for rank in lives:
        np.testing.assert_array_equal(rank[cut]["masks"], rank["whole"]["masks"])
        assert torch.equal(rank[cut]["weights"], rank["whole"]["weights"])
    masks = lives[0]["whole"]["masks"]
    assert len(masks) == STEPS
    assert len(np.unique(masks, axis=0)) > 2


@pytest.mark.slow
def test_masks_and_weights_are_equal_on_both_ranks(lives):
    for name in ("whole", "killed", "stopped"):
        zero, one = (rank[name] for rank in lives)
        np.testing.assert_array_equal(zero["masks"], one["masks"])
        assert torch.equal(zero["weights"], one["weights"])
