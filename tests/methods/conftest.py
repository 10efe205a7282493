"""Fixtures of the tests of methods."""

from functools import partial

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from helpers import write_synonyms


@pytest.fixture
def synonyms(tmp_path_factory) -> str:
    """The path of :func:`helpers.write_synonyms`, in a folder of its own."""
    return write_synonyms(tmp_path_factory.mktemp("synonyms"))


@pytest.fixture
def one_process():
    """Wraps a model for distributed training on this process alone, as the Trainer does."""
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
    yield partial(DistributedDataParallel, find_unused_parameters=True)
    torch.distributed.destroy_process_group()
