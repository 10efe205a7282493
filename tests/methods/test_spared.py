"""A backward pass without the weight gradients of what its own step freezes: what it gives, and where it is none."""

import gc
import weakref

import pytest
import torch
from torch import nn

from helpers import arguments, dataset, logged, make_batch, make_model, trace_of, train
from rosetune import CrossEntropy, RDrop, Rose, SelectiveAdamW

SKETCHED = {"order": "first", "upper": 0.5, "sketch": 64, "trace": True}


def losses(model, rose, optimizer, batch, step, objective=None):
    torch.manual_seed(step)
    share = rose.consistency_share if "consistency" in rose.needs else False
    out = (objective or CrossEntropy())(model, batch, consistency=share, backward=None)
    task_loss = None if out.task_loss is out.loss else out.task_loss
    rose.observe(optimizer, consistency=out.consistency, task_loss=task_loss)
    return out.loss


def pair(architecture="bert", objective=None, batch=None, **options):
    """Two runs of the same step, spared and plain: gradients by name and the mask."""
    found = []
    for spares in (True, False):
        model = make_model(architecture).double()
        rose = Rose(**{**SKETCHED, **options})
        optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-2, update_mask=rose)
        loss = losses(model, rose, optimizer, batch or make_batch(), 0, objective)
        (rose.spare(optimizer, loss) if spares else loss).backward()
        gradients = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
        optimizer.step()
        found.append((gradients, dict(zip(rose.trace.names, rose.trace.multipliers[0].tolist(), strict=True)), model))
    return found


@pytest.mark.parametrize("objective", [CrossEntropy(), RDrop()], ids=["cross_entropy", "r_drop"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "modernbert", "gpt2"])
def test_what_is_kept_has_its_gradient_and_what_is_frozen_has_none(architecture, objective):
    (spared, mask, ours), (plain, expected, theirs) = pair(architecture, objective)
    assert mask == expected
    assert {0.0, 1.0} == set(mask.values())
    matrices = {n for n, p in ours.named_parameters() if n in mask and p.dim() == 2}
    assert {n for n, g in spared.items() if g is None and plain[n] is not None} == {
        n for n in matrices if mask[n] == 0.0
    }
    for name, gradient in spared.items():
        if gradient is not None:
            torch.testing.assert_close(gradient, plain[name], rtol=1e-9, atol=1e-14)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def ignored(batch):
    return {**batch, "labels": batch["labels"].index_fill(0, torch.tensor([0, 3]), -100)}


@pytest.mark.parametrize(
    ("options", "batch"),
    [
        # Embeddings, biases and gains are not held back.
        ({"target_parameters": r"layer\.|word_embeddings", "upper": 0.2}, make_batch()),
        ({}, ignored(make_batch())),  # what ranks then takes a backward pass of its own
        ({"consistency_share": 0.5}, make_batch()),
        ({"refresh": 4}, make_batch()),
        ({"reduce": "norms"}, make_batch()),
        ({"upper": "auto"}, make_batch()),
    ],
    ids=["all tensors", "ignored rows", "half of the rows", "refresh", "norms", "auto"],
)
def test_the_same_gradients_whatever_ranks(options, batch):
    (spared, mask, model), (plain, expected, _) = pair(batch=batch, **options)
    assert mask == expected
    products = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    missing = {n for n, g in spared.items() if g is None and plain[n] is not None}
    assert missing == {n for n in products if mask.get(n) == 0.0}
    assert missing or options == {"upper": "auto"}
    for name, gradient in spared.items():
        if gradient is not None:
            torch.testing.assert_close(gradient, plain[name], rtol=1e-9, atol=1e-14)


def test_weights_that_several_layers_share():
    model = make_model(num_hidden_layers=3).double()
    layers = model.bert.encoder.layer
    layers[2].output.dense.weight = layers[0].output.dense.weight
    rose = Rose(**{**SKETCHED, "upper": 0.9})
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-2, update_mask=rose)
    loss = losses(model, rose, optimizer, make_batch(), 0)
    expected = torch.autograd.grad(loss, layers[0].output.dense.weight, retain_graph=True)[0]
    rose.spare(optimizer, loss).backward()
    optimizer.step()
    kept = dict(zip(rose.trace.names, rose.trace.multipliers[0].tolist(), strict=True))
    (name,) = (n for n, p in model.named_parameters() if p is layers[0].output.dense.weight)
    assert kept[name] == 1.0
    torch.testing.assert_close(layers[0].output.dense.weight.grad, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    "options",
    [
        {"sketch": 0},  # exact: clipping needs every gradient
        {"order": "ensemble"},
        {"order": "second"},
        {"risk": "task"},
        {"skip_gradients": False},
        {"start_step": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_where_the_loss_stays_as_it_is(options):
    model, rose = make_model(), Rose(**{**SKETCHED, **options})
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    loss = losses(model, rose, optimizer, make_batch(), 0)
    assert rose.spare(optimizer, loss) is loss


def test_a_loss_that_reaches_the_weights_by_another_way_too():
    model, rose = make_model(), Rose(**SKETCHED)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    loss = losses(model, rose, optimizer, make_batch(), 0)
    decayed = loss + 1e-2 * sum(p.square().sum() for p in model.parameters())
    assert rose.spare(optimizer, decayed) is decayed
    # Added afterwards it comes on top of what is spared.
    decay = 1e-2 * sum(p.square().sum() for p in model.parameters())
    (rose.spare(optimizer, loss) + decay).backward()
    optimizer.step()
    mask = dict(zip(rose.trace.names, rose.trace.multipliers[0].tolist(), strict=True))
    assert all(p.grad is not None for p in model.parameters())
    assert 0.0 in mask.values()


def test_a_step_of_several_micro_batches_is_not_spared():
    model, rose = make_model(), Rose(**SKETCHED)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    first = rose.spare(optimizer, losses(model, rose, optimizer, make_batch(), 0))
    second = losses(model, rose, optimizer, make_batch(seed=1), 1)
    assert rose.spare(optimizer, second) is second
    (first + second).backward()  # which the second makes a plain one
    assert all(p.grad is not None for p in model.parameters())
    optimizer.step()
    optimizer.zero_grad()
    rose.spare(optimizer, losses(model, rose, optimizer, make_batch(), 0)).backward()
    with pytest.raises(ValueError, match="leave out spare in steps of several"):
        losses(model, rose, optimizer, make_batch(seed=1), 1)


def test_a_step_that_is_not_taken_leaves_no_mask_behind():
    model, rose = make_model(), Rose(**SKETCHED)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    rose.spare(optimizer, losses(model, rose, optimizer, make_batch(), 0)).backward()
    optimizer.zero_grad()
    with pytest.raises(ValueError, match="without having observed"):
        optimizer.step()
    rose.spare(optimizer, losses(model, rose, optimizer, make_batch(), 0)).backward()
    rose.discard()
    with pytest.raises(ValueError, match="without having observed"):
        optimizer.step()


def test_without_dropout_the_backward_pass_says_so():
    model, rose = make_model(dropout=0.0), Rose(**SKETCHED)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    with pytest.raises(ValueError, match="dropout"):
        rose.spare(optimizer, losses(model, rose, optimizer, make_batch(), 0)).backward()


@pytest.mark.parametrize("limit", [1e-3, 100.0])
def test_clipping_counts_what_is_left_out(limit):
    """With many columns the estimate is nearly exact, so that all is as without."""
    clipped = {}
    for spares in (False, True):
        model, rose = make_model().double(), Rose(**{**SKETCHED, "sketch": 20000})
        optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
        loss = losses(model, rose, optimizer, make_batch(), 0)
        (rose.spare(optimizer, loss) if spares else loss).backward()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if ".layer." in name and parameter.grad is not None:
                    parameter.grad *= 30.0  # these are small in a model that is new
            if spares:
                rose.spared_norm *= 30.0
        norm = optimizer.clip_grad_norm_(limit)
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        clipped[spares] = norm, optimizer.clip_coefficient, gradients
        optimizer.step()
        assert rose.spared_norm is None
    (norm, factor, gradients), (whole, expected, plain) = clipped[True], clipped[False]
    own = torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt() / factor
    assert own < 0.99 * whole
    torch.testing.assert_close(norm, whole, rtol=0.02, atol=0.0)
    torch.testing.assert_close(factor, expected, rtol=0.02, atol=0.0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain[name], rtol=0.02, atol=1e-12)


def test_no_weight_product_of_a_frozen_tensor_is_taken():
    """Counted: products whose result has the shape of a weight, as no sketch has."""
    model, rose = make_model(), Rose(**{**SKETCHED, "sketch": 8})
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    for step in range(2):  # the first batch of its kind is checked by a pass of its own
        loss = rose.spare(optimizer, losses(model, rose, optimizer, make_batch(), step))
        shapes = {tuple(p.shape) for n, p in model.named_parameters() if ".layer." in n and p.dim() == 2}
        with Products(shapes) as counted:
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    mask = dict(zip(rose.trace.names, rose.trace.multipliers[1].tolist(), strict=True))
    kept = [n for n, p in model.named_parameters() if mask.get(n) == 1.0 and p.dim() == 2]
    assert 0 < len(kept) < 12
    assert counted.number == len(kept) + 1  # and the pooler's, which is no target


class Products(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self, shapes):
        super().__init__()
        self.shapes, self.number = shapes, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.mm.default and tuple(out.shape) in self.shapes:
            self.number += 1
        return out


def test_no_graph_outlives_its_step():
    model, rose = make_model(), Rose(**SKETCHED)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    loss = rose.spare(optimizer, losses(model, rose, optimizer, make_batch(), 0))
    held = weakref.ref(rose._observation.awaited)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    del loss
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("accumulation", [1, 2])
def test_in_the_trainer(tmp_path, accumulation):
    """Without clipping the weights are those of a run whose gradients are all computed."""
    found = {}
    for skip in (True, False):
        model, rose = make_model(), Rose(**SKETCHED, skip_gradients=skip)
        seen = []
        step = SelectiveAdamW.step

        def watched(self, *args, seen=seen, step=step, **kwargs):
            seen.append(sum(p.grad is None for group in self.param_groups for p in group["params"]))
            return step(self, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SelectiveAdamW, "step", watched)
            options = {"max_steps": 4, "max_grad_norm": 0.0, "gradient_accumulation_steps": accumulation}
            trainer = train(model, arguments(tmp_path / str(skip), **options), dataset(), update_mask=rose)
        found[skip] = (trainer, seen)
    (spared, missing), (plain, none) = found[True], found[False]
    assert trace_of(spared).multipliers.tolist() == trace_of(plain).multipliers.tolist()
    assert none == [0] * 4
    assert all(missing) if accumulation == 1 else missing == [0] * 4
    for one, other in zip(spared.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_trainer_clips_by_all_gradients(tmp_path):
    """Nearly exact estimates: the norms that it logs are those of a run whose gradients are all computed."""
    logs = []
    for skip in (True, False):
        rose = Rose(**{**SKETCHED, "sketch": 20000, "skip_gradients": skip})
        options = {"max_steps": 2, "max_grad_norm": 0.05, "learning_rate": 1e-4}
        logs.append(
            logged(train(make_model(), arguments(tmp_path / str(skip), **options), dataset(), update_mask=rose))
        )
    for one, other in zip(*logs, strict=True):
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=0.01)
