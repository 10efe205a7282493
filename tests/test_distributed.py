"""Two gloo processes on the CPU: equal masks and weights on both, and the masks of one process on the same batch."""

import io
import os
import re
from contextlib import nullcontext, redirect_stderr

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from datasets import Dataset
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers.utils import ModelOutput

import forked
from helpers import arguments
from rosetune import (
    R3F,
    ChildTuning,
    CrossEntropy,
    FreeLB,
    LatentAdversarial,
    LayerNormOnly,
    Magma,
    PreparedMask,
    RandomMask,
    RDrop,
    RobustTrainer,
    Rose,
    SelectiveAdamW,
    Smart,
    SparingMask,
    StatefulObjective,
    StaticMask,
    UniformMask,
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
    "first, sharded": (CrossEntropy, lambda: Rose("first", upper=0.5, trace=True)),
    "ensemble, sharded": (CrossEntropy, lambda: Rose("ensemble", upper=0.5, trace=True)),
    "ensemble, sharded with replicas": (CrossEntropy, lambda: Rose("ensemble", upper=0.5, trace=True)),
    "first, sketched, sharded": (CrossEntropy, lambda: Rose("first", upper=0.5, sketch=4, trace=True)),
    "r-drop+ensemble, sharded": (RDrop, lambda: Rose("ensemble", upper=0.5, trace=True)),
    "r-drop+ensemble, sketched, sharded": (RDrop, lambda: Rose("ensemble", upper=0.5, sketch=4, trace=True)),
    "r-drop+ensemble, 3 labels, sharded": (RDrop, lambda: Rose("ensemble", upper=0.5, trace=True)),
    "r-drop+ensemble, 3 labels, sketched, sharded": (
        RDrop,
        lambda: Rose("ensemble", upper=0.5, sketch=4, trace=True),
    ),
    "first, economy, sharded": (
        CrossEntropy,
        lambda: Rose("first", upper=0.5, refresh=2, consistency_share=0.5, sketch=4, trace=True),
    ),
    "plain cross-entropy": (CrossEntropy, lambda: None),
    "plain r-drop": (RDrop, lambda: None),
    "r-drop, sharded": (RDrop, lambda: None),
    "static": (CrossEntropy, lambda: StaticMask(upper=0.5)),
    "static, sharded": (CrossEntropy, lambda: StaticMask(upper=0.5)),
    "uniform": (CrossEntropy, lambda: UniformMask(0.5)),
    "uniform, sharded": (CrossEntropy, lambda: UniformMask(0.5)),
    "layer norm only": (CrossEntropy, LayerNormOnly),
    "layer norm only, sharded": (CrossEntropy, LayerNormOnly),
    "second, sharded": (CrossEntropy, lambda: Rose("second", upper=0.5, trace=True)),
    "second, economy, sharded": (CrossEntropy, lambda: Rose("second", upper=0.5, refresh=2, trace=True)),
    "random, sharded": (CrossEntropy, lambda: RandomMask(0.5)),
    "random": (CrossEntropy, lambda: RandomMask(0.5)),
    "magma": (CrossEntropy, Magma),
    "magma, sharded": (CrossEntropy, Magma),
    "latent+ensemble": (LatentAdversarial, lambda: Rose("ensemble", upper=0.5, trace=True)),
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
FIXED = ("random", "child-tuning", "static", "uniform", "layer norm", "plain", "r-drop, sharded")


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
        model = sharded_model(num_labels, replicas=2 if "replicas" in case else 1)
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
        look_and_backward(objective, mask, optimizer, wrapped, share)
        optimizer.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()
        multipliers.append([float(mean) for mean in (optimizer.density or {}).values()])
    trace = getattr(mask, "trace", None)
    return {
        "weights": whole_weights(model),
        "masks": np.array(multipliers) if trace is None else trace.multipliers,
    }


def look_and_backward(objective, mask, optimizer, model, rows, parts=1, left_out=False):
    """One micro-batch of a step; ``left_out``: the loss that is followed has only one of both passes."""
    spares = isinstance(mask, SparingMask)
    with mask.resting(optimizer, model) if spares else nullcontext():
        wanted = mask is not None and "consistency" in mask.needs and (mask.consistency_share if spares else True)
        out = objective(model, rows, consistency=wanted, backward=None)
        if mask is not None:
            weight = {"consistency_weight": out.consistency_weight} if spares else {}
            task_loss = None if out.task_loss is out.loss else out.task_loss
            mask.observe(optimizer, consistency=out.consistency, task_loss=task_loss, **weight)
        loss = nn.functional.cross_entropy(out.outputs.logits, rows["labels"]) if left_out else out.loss
        (loss / parts).backward()


def whole_weights(model):
    weights = [p.full_tensor() if isinstance(p, DTensor) else p for p in model.parameters()]
    return torch.cat([weight.detach().flatten() for weight in weights])


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


def sharded_model(num_labels=2, replicas=1):
    model = RowNoise(num_labels)
    ranks = torch.distributed.get_world_size()
    names = {"mesh_dim_names": ("replicas", "shards")}
    mesh = None if replicas == 1 else init_device_mesh("cpu", (replicas, ranks // replicas), **names)
    for layer in model.layer:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def irregular(sketch, rank=0, world=1):
    """Two micro-batches a step, the first without a reduction of gradients where there are several ranks.

    In the second step the ranks have other numbers of rows. In the third the loss leaves out one of the two passes, so
    that the gradients that rank take a pass of their own, in the midst of the one that is followed.
    """
    model = RowNoise() if world == 1 else sharded_model()
    mask = Rose("ensemble", upper=0.5, sketch=sketch, trace=True)
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-2, update_mask=mask)
    for step in range(4):
        for part in range(2):
            whole = batch(10 * step + part)
            # Means of unequal parts are not the mean of all: one process looks at them one by one as well.
            cut = 3 if step == 1 else ROWS // 2
            shares = [{k: v[:cut] for k, v in whole.items()}, {k: v[cut:] for k, v in whole.items()}]
            if world > 1:
                model.set_requires_gradient_sync(part == 1)
            for share in [shares[rank]] if world > 1 else shares:
                look_and_backward(CrossEntropy(), mask, optimizer, model, share, 2 * (2 // world), step == 2)
        optimizer.step()
        optimizer.zero_grad()
    return {"weights": whole_weights(model), "masks": mask.trace.multipliers}


def trained(folder, rank=0, world=1):
    """What the RobustTrainer makes of the same global batches, under DistributedDataParallel where there are ranks."""
    if world > 1:  # accelerate asks for them; the store is a file
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    rose = {"update_mask": "rose", "update_mask_kwargs": {"order": "ensemble", "upper": 0.5, "trace": True}}
    args = arguments(folder, max_steps=STEPS, per_device_train_batch_size=ROWS // world, save_only_model=True, **rose)
    rows = [batch(step) for step in range(STEPS)]
    data = Dataset.from_dict({name: torch.cat([each[name] for each in rows]).tolist() for name in rows[0]})
    trainer = RobustTrainer(RowNoise(), args, train_dataset=data)
    trainer.train()
    assert (args.parallel_mode.name == "DISTRIBUTED") == (world > 1)
    assert isinstance(trainer.model_wrapped, DistributedDataParallel) == (world > 1)
    logged = [[entry[term] for term in ("task_loss", "consistency")] for entry in trainer.state.log_history[:-1]]
    return {
        **{"weights": whole_weights(trainer.model), "masks": trainer.update_mask.trace.multipliers},
        "logged": np.array(logged),
    }


REFUSED = {
    "norms": (CrossEntropy, lambda: Rose("first", upper=0.5, reduce="norms"), "reduce='norms'.* give Rose sketch=16"),
    "child-tuning-f": (CrossEntropy, lambda: ChildTuning("F"), "ChildTuning does not work under FSDP, where no"),
    "freelb": (FreeLB, lambda: None, "perturbs word embeddings does not work under FSDP"),
    "r3f": (R3F, lambda: None, "perturbs word embeddings does not work under FSDP"),
    "smart": (lambda: Smart(adversarial_weight=0), lambda: None, "a second set of weights .* under FSDP"),
}


def refused(case):
    """What is said to a model in shards, at the first step and before any weight has moved."""
    make_objective, make_mask, _ = REFUSED[case]
    model, objective, mask = sharded_model(), make_objective(), make_mask()
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=mask)
    if isinstance(objective, StatefulObjective):
        objective.setup(RowNoise())
        objective.begin_step(model)
    before = whole_weights(model)
    try:
        look_and_backward(objective, mask, optimizer, model, batch(0))
        optimizer.step()
    except ValueError as error:
        return str(error) if torch.equal(before, whole_weights(model)) else "too late"


def worker(rank, folder, cases):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {case: train(case, rank, 2) for case in cases} | {"fisher": fisher(rank, 2)}
    found |= {f"irregular, {sketch}": irregular(sketch, rank, 2) for sketch in (0, 4)}
    found["refused"] = {case: refused(case) for case in REFUSED}
    found["trainer"] = trained(os.path.join(folder, "run"), rank, 2)
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
    real = case.startswith("magma")  # whose multipliers are real numbers in single precision
    np.testing.assert_allclose(zero["masks"], alone["masks"], rtol=0, atol=1e-6 if real else 0)
    torch.testing.assert_close(zero["weights"], alone["weights"], rtol=0, atol=1e-7 if real else 1e-9)
    assert case.startswith(FIXED) or len(np.unique(alone["masks"], axis=0)) > 1


def test_the_trainer_of_two_processes_is_that_of_one(two_ranks, tmp_path):
    zero, one = (rank["trainer"] for rank in two_ranks)
    assert torch.equal(zero["weights"], one["weights"])
    np.testing.assert_array_equal(zero["masks"], one["masks"])
    alone = trained(tmp_path)
    np.testing.assert_allclose(zero["logged"], alone["logged"], rtol=1e-9, atol=0)
    np.testing.assert_array_equal(zero["masks"], alone["masks"])
    torch.testing.assert_close(zero["weights"], alone["weights"], rtol=0, atol=1e-9)
    assert len(np.unique(alone["masks"], axis=0)) > 1


@pytest.mark.parametrize("sketch", [0, 4])
def test_irregular_steps_on_shards_are_those_of_one_process(two_ranks, sketch):
    zero, one = (rank[f"irregular, {sketch}"] for rank in two_ranks)
    assert torch.equal(zero["weights"], one["weights"])
    alone = irregular(sketch)
    for rank in (zero, one):
        np.testing.assert_array_equal(rank["masks"], alone["masks"])
    torch.testing.assert_close(zero["weights"], alone["weights"], rtol=0, atol=1e-9)
    assert len(np.unique(alone["masks"], axis=0)) > 1


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_work_on_shards_is_refused_with_a_reason(two_ranks, case):
    for rank in two_ranks:
        assert re.search(REFUSED[case][2], rank["refused"][case])


def test_the_fisher_pass_of_two_processes_is_that_of_one(two_ranks):
    """Unequal numbers of batches, one of which is not finite; only the first rank shows its progress."""
    zero, one = (rank["fisher"] for rank in two_ranks)
    assert ["Fisher pass:   0%" in part["shown"] for part in (zero, one)] == [True, False]
    for a, b, alone in zip(zero["values"], one["values"], fisher(left_out=3)["values"], strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, alone, rtol=1e-5, atol=0)
