"""Two gloo processes on the CPU: equal masks and weights on both, and the masks of one process on the same batch."""

import io
import os
from contextlib import nullcontext, redirect_stderr

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers.utils import ModelOutput

import forked
from rosetune import (
    ChildTuning,
    CrossEntropy,
    FreeLB,
    PreparedMask,
    RandomMask,
    RDrop,
    Rose,
    SelectiveAdamW,
    Smart,
    SparingMask,
    StatefulObjective,
)
from rosetune.methods._fisher import diagonal_fisher
from row_noise import RowNoise

STEPS, ROWS = 5, 8
CASES = {
    "first": (CrossEntropy, lambda: Rose("first", upper=0.5, trace=True)),
    "second": (CrossEntropy, lambda: Rose("second", upper=0.5, trace=True)),
    "ensemble": (CrossEntropy, lambda: Rose("ensemble", upper=0.5, trace=True)),
    "r-drop+ensemble": (RDrop, lambda: Rose("ensemble", upper=0.5, trace=True)),
    "first, sketched": (CrossEntropy, lambda: Rose("first", upper=0.5, sketch=4, trace=True)),
    "r-drop+ensemble, sketched": (RDrop, lambda: Rose("ensemble", upper=0.5, sketch=4, trace=True)),
    "r-drop+ensemble, 3 labels": (RDrop, lambda: Rose("ensemble", upper=0.5, trace=True)),
    "r-drop+ensemble, 3 labels, sketched": (RDrop, lambda: Rose("ensemble", upper=0.5, sketch=4, trace=True)),
    "first, economy": (CrossEntropy, lambda: Rose("first", upper=0.5, refresh=2, consistency_share=0.5, trace=True)),
    "second, economy": (CrossEntropy, lambda: Rose("second", upper=0.5, refresh=2, trace=True)),
    "ensemble, economy": (CrossEntropy, lambda: Rose("ensemble", upper=0.5, refresh=4, agreement=0.5, trace=True)),
    "r-drop+first, economy": (RDrop, lambda: Rose("first", upper=0.5, refresh=2, sketch=4, trace=True)),
    "second, sharded": (CrossEntropy, lambda: Rose("second", upper=0.5, trace=True)),
    "second, economy, sharded": (CrossEntropy, lambda: Rose("second", upper=0.5, refresh=2, trace=True)),
    "random, sharded": (CrossEntropy, lambda: RandomMask(0.5)),
    "random": (CrossEntropy, lambda: RandomMask(0.5)),
    "smart+second": (
        lambda: Smart(epsilon=0.05, noise_std=0.0, step_size=0.1, bregman_weight=0.5),
        lambda: Rose("second", upper=0.5, trace=True),
    ),
    "freelb+ensemble": (lambda: FreeLB(init_magnitude=0.0), lambda: Rose("ensemble", upper=0.5, trace=True)),
    "child-tuning-d": (CrossEntropy, lambda: ChildTuning("D", fisher="example")),
    "child-tuning-f": (CrossEntropy, lambda: ChildTuning("F")),
}
# Here DistributedDataParallel waits for every gradient, so that those of frozen tensors are computed and dropped.
WAITING = ("first, economy", "r-drop+first, economy")
# No mask of these changes from step to step.
FIXED = ("random", "random, sharded", "child-tuning-d", "child-tuning-f")


def batch(step, num_labels=2):
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(5, 100, (ROWS, 10), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.arange(ROWS) % num_labels}


def train(case, rank=0, world=1):
    """The trained weights and the masks; each rank sees its share of the same global batch."""
    make_objective, make_mask = CASES[case]
    num_labels = 3 if "3 labels" in case else 2
    model = RowNoise(num_labels)
    objective, mask = make_objective(), make_mask()
    sharded = world > 1 and "sharded" in case
    if sharded:
        for layer in model.layer:
            fully_shard(layer)
        fully_shard(model)
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-2, update_mask=mask)
    unused = "economy" in case and case not in WAITING
    wrapped = DistributedDataParallel(model, find_unused_parameters=unused) if world > 1 and not sharded else model
    shares = [{k: v[rank::world] for k, v in batch(step, num_labels).items()} for step in range(STEPS)]
    if isinstance(objective, StatefulObjective):
        objective.setup(model, total_steps=STEPS)
    if isinstance(mask, PreparedMask):
        mask.prepare(optimizer, model, shares)
    multipliers = []
    for share in shares:
        if isinstance(objective, StatefulObjective):
            objective.begin_step(model)
        spares = isinstance(mask, SparingMask)
        with mask.resting(optimizer, wrapped) if spares else nullcontext():
            wanted = "consistency" in mask.needs and (mask.consistency_share if spares else True)
            out = objective(wrapped, share, consistency=wanted, backward=None)
            weight = {"consistency_weight": out.consistency_weight} if spares else {}
            task_loss = None if out.task_loss is out.loss else out.task_loss
            mask.observe(optimizer, consistency=out.consistency, task_loss=task_loss, **weight)
            out.loss.backward()
        optimizer.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()
        multipliers.append([float(mean) for mean in optimizer.density.values()])
    trace = getattr(mask, "trace", None)
    return {
        "weights": torch.cat([(p.full_tensor() if sharded else p).detach().flatten() for p in model.parameters()]),
        "masks": np.array(multipliers) if trace is None else trace.multipliers,
    }


class Classifier(nn.Linear):
    def forward(self, x):
        return ModelOutput(logits=super().forward(x))


def fisher(rank=0, world=1, left_out=None):
    """The Fisher values of this rank's share of five batches, the fourth not finite, and what the pass shows."""
    generator = torch.Generator().manual_seed(0)
    model = Classifier(4, 3).double()
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=p.dtype)
    batches = [
        {"x": torch.randn(size, 4, generator=generator, dtype=torch.float64), "labels": torch.arange(size) % 3}
        for size in (4, 2, 5, 3, 6)
    ]
    batches[3]["x"][0] = torch.inf
    share = [batch for i, batch in enumerate(batches) if i % world == rank and i != left_out]
    with redirect_stderr(io.StringIO()) as shown:
        values = diagonal_fisher(model, list(model.parameters()), share, per_example=False, clip=1.0)
    return {"values": values, "shown": shown.getvalue()}


def refused():
    """What ROSE-First says to a model in shards."""
    model, mask = RowNoise(), Rose("first", upper=0.5)
    fully_shard(model)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=mask)
    try:
        mask.observe(optimizer, consistency=CrossEntropy()(model, batch(0), consistency=True).consistency)
    except ValueError as error:
        return str(error)


def worker(rank, folder, cases):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {case: train(case, rank, 2) for case in cases} | {"fisher": fisher(rank, 2), "refused": refused()}
    torch.save(found, os.path.join(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    method = forked.context().get_start_method()
    mp.start_processes(worker, args=(str(folder), list(CASES)), nprocs=2, start_method=method)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(two_ranks, case):
    zero, one = (rank[case] for rank in two_ranks)
    assert torch.equal(zero["weights"], one["weights"])
    np.testing.assert_array_equal(zero["masks"], one["masks"])
    alone = train(case)
    np.testing.assert_array_equal(zero["masks"], alone["masks"])
    torch.testing.assert_close(zero["weights"], alone["weights"], rtol=0, atol=1e-9)
    assert case in FIXED or len(np.unique(alone["masks"], axis=0)) > 1


def test_what_cannot_be_ranked_in_shards_is_refused(two_ranks):
    assert all("use DistributedDataParallel, or ROSE-Second" in rank["refused"] for rank in two_ranks)


def test_the_fisher_pass_of_two_processes_is_that_of_one(two_ranks):
    """Unequal numbers of batches, one of which is not finite; only the first rank shows its progress."""
    zero, one = (rank["fisher"] for rank in two_ranks)
    assert ["Fisher pass:   0%" in part["shown"] for part in (zero, one)] == [True, False]
    for a, b, alone in zip(zero["values"], one["values"], fisher(left_out=3)["values"], strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, alone, rtol=1e-5, atol=0)
