"""A backward pass without the weight gradients of what its own step freezes: what it gives, and where it is none."""

import dataclasses
import gc
import itertools
import weakref

import pytest
import torch
from torch import nn

from helpers import arguments, dataset, logged, make_batch, make_model, trace_of, train
from rosetune import CrossEntropy, RDrop, RobustTrainer, Rose, SelectiveAdamW
from rosetune.methods._targets import select_targets

SKETCHED = {"order": "first", "upper": 0.5, "sketch": 64, "trace": True}


def expect_all(rose, optimizer):
    """As if the last mask had frozen every tensor, some steps ago: only those wait for the next."""
    names = [name for name, _ in select_targets(optimizer, rose.target_parameters)]
    rose._economy.renew(names, [0.0] * len(names))
    rose._economy._age = 99


def losses(model, rose, optimizer, batch, step, objective=None):
    torch.manual_seed(step)
    share = rose.consistency_share if "consistency" in rose.needs else False
    out = (objective or CrossEntropy())(model, batch, consistency=share, backward=None)
    task_loss = None if out.task_loss is out.loss else out.task_loss
    rose.observe(optimizer, consistency=out.consistency, task_loss=task_loss)
    return out.loss


def pair(architecture="bert", objective=None, batch=None, prepare=None, **options):
    """Two runs of the same step, spared and plain: gradients by name, the mask, and the model after it."""
    found = []
    for spares in (True, False):
        model = make_model(architecture).double()
        model = model if prepare is None else prepare(model)
        rose = Rose(**{**SKETCHED, **options})
        optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-2, update_mask=rose)
        expect_all(rose, optimizer)
        loss = losses(model, rose, optimizer, batch or make_batch(), 0, objective)
        (rose.spare(optimizer, loss) if spares else loss).backward()
        gradients = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
        optimizer.step()
        found.append((gradients, dict(zip(rose.trace.names, rose.trace.multipliers[0].tolist(), strict=True)), model))
    return found


def lower_half(names):
    """Of the layers in the order of the forward pass; the gradients of the others are not held back."""
    names = list(names)
    return names[: len(names) // 2]


@pytest.mark.parametrize("objective", [CrossEntropy(), RDrop()], ids=["cross_entropy", "r_drop"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "modernbert", "gpt2"])
def test_what_is_kept_has_its_gradient_and_what_is_frozen_has_none(architecture, objective):
    (spared, mask, ours), (plain, expected, theirs) = pair(architecture, objective)
    assert mask == expected
    assert {0.0, 1.0} == set(mask.values())
    matrices = lower_half(n for n, p in ours.named_parameters() if n in mask and p.dim() == 2)
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
    products = [f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    products = lower_half(n for n in products if n in mask)
    missing = {n for n, g in spared.items() if g is None and plain[n] is not None}
    assert missing == {n for n in products if mask.get(n) == 0.0}
    assert missing or options == {"upper": "auto"}
    for name, gradient in spared.items():
        if gradient is not None:
            torch.testing.assert_close(gradient, plain[name], rtol=1e-9, atol=1e-14)


def without_embeddings(model):
    """Of a model whose layers have no bias."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("embeddings" not in name)
    return model


def weights_alone(model):
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.dim() == 2)
    return without_embeddings(model)


def with_lora(model):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"], init_lora_weights=False)
    return peft.get_peft_model(model, config).double()


@pytest.mark.parametrize("batch", [make_batch(), ignored(make_batch())], ids=["plain", "ignored rows"])
@pytest.mark.parametrize(
    ("architecture", "prepare"),
    [("modernbert", without_embeddings), ("bert", weights_alone), ("bert", with_lora)],
    ids=["without embeddings", "weights alone", "lora"],
)
def test_where_nothing_else_is_trained_below_a_layer(architecture, prepare, batch):
    """Autograd goes no further down than to what is asked for."""
    (spared, mask, _), (plain, expected, _) = pair(architecture, batch=batch, prepare=prepare)
    assert mask == expected
    assert all(mask[n] == 0.0 for n, g in spared.items() if g is None and plain[n] is not None)
    for name, gradient in spared.items():
        if gradient is not None:
            torch.testing.assert_close(gradient, plain[name], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("upper", [0.9, 0.1])
def test_weights_that_several_layers_share(upper):
    shared = []

    def prepare(model):
        attention = model.bert.encoder.layer[0].attention.self
        attention.key.weight = attention.query.weight
        shared.append(next(n for n, p in model.named_parameters() if p is attention.query.weight))
        return model

    (spared, mask, _), (plain, expected, _) = pair(prepare=prepare, upper=upper, sketch=20000)
    assert mask == expected
    (name,) = set(shared)
    assert mask[name] == float(upper == 0.9)
    if mask[name]:
        torch.testing.assert_close(spared[name], plain[name], rtol=1e-9, atol=1e-14)
    else:
        assert spared[name] is None
    for other, gradient in spared.items():
        if gradient is not None:
            torch.testing.assert_close(gradient, plain[other], rtol=1e-9, atol=1e-14)


def test_weights_that_an_upper_layer_shares_are_not_held_back():
    def prepare(model):
        layers = model.bert.encoder.layer
        layers[1].output.dense.weight = layers[0].output.dense.weight
        return model

    (spared, mask, _), (plain, expected, _) = pair(prepare=prepare, upper=0.1)
    assert mask == expected
    name = "bert.encoder.layer.0.output.dense.weight"
    assert mask[name] == 0.0
    torch.testing.assert_close(spared[name], plain[name], rtol=1e-9, atol=1e-14)
    assert spared["bert.encoder.layer.0.intermediate.dense.weight"] is None


def test_a_hook_on_a_weight_sees_its_gradient():
    seen = []

    def prepare(model):
        model.bert.encoder.layer[0].output.dense.weight.register_hook(lambda g: seen.append(g.norm()) or g * 0)
        return model

    (spared, _, _), (plain, _, _) = pair(prepare=prepare, upper=0.9)
    name = "bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(spared[name], plain[name])
    assert not spared[name].any()
    assert seen


def test_in_bfloat16():
    found = []
    for spares in (True, False):
        model, rose = make_model(), Rose(**SKETCHED)
        optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-2, update_mask=rose)
        expect_all(rose, optimizer)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = losses(model, rose, optimizer, make_batch(), 0)
        (rose.spare(optimizer, loss) if spares else loss).backward()
        optimizer.step()
        found.append(({n: p.grad for n, p in model.named_parameters()}, rose.trace.multipliers.tolist()))
    (spared, mask), (plain, expected) = found
    assert mask == expected
    assert any(g is None for g in spared.values())
    for name, gradient in spared.items():
        if gradient is not None:
            assert gradient.dtype == torch.float32
            torch.testing.assert_close(gradient, plain[name], rtol=0.02, atol=0.02 * float(plain[name].abs().max()))


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
    expect_all(rose, optimizer)
    loss = losses(model, rose, optimizer, make_batch(), 0)
    assert rose.spare(optimizer, loss) is loss


def test_three_labels_are_not_spared():
    model, rose = make_model(num_labels=3), Rose(**SKETCHED)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    expect_all(rose, optimizer)
    loss = losses(model, rose, optimizer, make_batch(num_labels=3), 0)
    assert rose.spare(optimizer, loss) is loss


def test_distributed_data_parallel_is_not_spared(one_process):
    model, rose = make_model(), Rose(**SKETCHED)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    expect_all(rose, optimizer)
    wrapped = one_process(model)
    for step in range(2):
        loss = losses(wrapped, rose, optimizer, make_batch(), step)
        assert rose.spare(optimizer, loss) is loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def test_a_loss_that_reaches_the_weights_by_another_way_too():
    model, rose = make_model().double(), Rose(**SKETCHED)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    expect_all(rose, optimizer)
    loss = losses(model, rose, optimizer, make_batch(), 0)
    decay = sum(p.square().sum() for p in model.parameters()) / 2  # whose gradient is the weight
    assert rose.spare(optimizer, loss + decay).grad_fn.name() == "AddBackward0"
    # Added afterwards it comes on top of what is spared.
    (plain, _, _) = pair()[1]
    (rose.spare(optimizer, loss) + decay).backward()
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer.step()
    mask = dict(zip(rose.trace.names, rose.trace.multipliers[0].tolist(), strict=True))
    left_out = {n for n in mask if torch.allclose(model.get_parameter(n).grad, weights[n], rtol=0.0, atol=1e-14)}
    assert left_out
    assert all(mask[n] == 0.0 for n in left_out)
    for name, parameter in model.named_parameters():
        if name not in left_out:
            torch.testing.assert_close(parameter.grad, plain[name] + weights[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("change", ["multiplied", "divided in place"])
def test_a_loss_that_is_multiplied_is_not_spared(change):
    """Whatever takes that factor out of .grad again does not know of the norm of what was left out."""
    model, rose = make_model(), Rose(**SKETCHED)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    expect_all(rose, optimizer)
    loss = rose.spare(optimizer, losses(model, rose, optimizer, make_batch(), 0))
    if change == "multiplied":
        loss = loss * 2.0
    else:
        loss /= 2.0
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert rose.spared_norm is None
    optimizer.step()


def test_a_step_of_several_micro_batches_is_not_spared():
    model, rose = make_model(), Rose(**SKETCHED)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    expect_all(rose, optimizer)
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
    expect_all(rose, optimizer)
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
    expect_all(rose, optimizer)
    with pytest.raises(ValueError, match="dropout"):
        rose.spare(optimizer, losses(model, rose, optimizer, make_batch(), 0)).backward()


@pytest.mark.parametrize("limit", [1e-3, 100.0])
def test_clipping_counts_what_is_left_out(limit):
    """With many columns the estimate is nearly exact, so that all is as without."""
    clipped = {}
    for spares in (False, True):
        model, rose = make_model().double(), Rose(**{**SKETCHED, "sketch": 20000})
        optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
        expect_all(rose, optimizer)
        loss = losses(model, rose, optimizer, make_batch(), 0)
        (rose.spare(optimizer, loss) if spares else loss).backward()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if ".layer.0." in name and parameter.grad is not None:
                    parameter.grad *= 300.0  # these are small in a model that is new
            if spares:
                rose.spared_norm *= 300.0
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


def test_no_weight_product_of_what_stays_frozen_is_taken():
    """Counted: products whose result has the shape of a weight, as no sketch has."""
    model, rose = make_model(), Rose(**{**SKETCHED, "sketch": 8})
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-2, update_mask=rose)
    numbers = []
    for step in range(4):
        loss = rose.spare(optimizer, losses(model, rose, optimizer, make_batch(), step))
        shapes = {tuple(p.shape) for n, p in model.named_parameters() if ".layer." in n and p.dim() == 2}
        with Products(shapes) as counted:
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        numbers.append(counted.number)
    matrices = [i for i, n in enumerate(rose.trace.names) if model.get_parameter(n).dim() == 2]
    masks = rose.trace.multipliers[:, lower_half(matrices)]
    stay = [0, *(int(((one == 0) & (other == 0)).sum()) for one, other in itertools.pairwise(masks))]
    assert stay[-1] > 0
    # The pooler's is taken too, which is no target; in the first step a pass of its own checks, by whole gradients.
    assert numbers[1:] == [len(matrices) - n + 1 for n in stay[1:]]


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
    expect_all(rose, optimizer)
    loss = rose.spare(optimizer, losses(model, rose, optimizer, make_batch(), 0))
    held = weakref.ref(rose._observation.awaited)
    gc.disable()
    try:
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        assert held() is None  # without a collection of cycles, and while the loss is there
    finally:
        gc.enable()


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
    # In the first step no mask says yet what will probably be frozen.
    assert (missing[0] == 0 and all(missing[1:])) if accumulation == 1 else missing == [0] * 4
    for one, other in zip(spared.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def layers_alone(model):
    """In a model that is new the gradients of its layers are small beside the others."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".layer." in name)
    return model


@pytest.mark.parametrize("limit", [0.001, 0.0])
def test_the_trainer_counts_all_gradients(tmp_path, limit):
    """Nearly exact estimates: the norms that it logs are those of a run whose gradients are all computed."""
    logs, alone = [], []

    class Watched(Rose):
        def __call__(self, optimizer):
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            alone.append((float(torch.stack([g.norm() for g in gradients]).norm()), self.spared_norm))
            return super().__call__(optimizer)

    for skip in (True, False):
        rose = Watched(**{**SKETCHED, "upper": 0.2, "sketch": 20000, "skip_gradients": skip})
        options = {"max_steps": 2, "max_grad_norm": limit, "learning_rate": 1e-4}
        trainer = train(
            layers_alone(make_model()), arguments(tmp_path / str(skip), **options), dataset(), update_mask=rose
        )
        logs.append(logged(trainer)[1]["grad_norm"])
    assert logs[0] == pytest.approx(logs[1], rel=0.02)
    (_, (spared, norm)), (_, (whole, none)) = alone[:2], alone[2:]
    assert (norm is not None, none is None) == (True, True)
    assert spared < 0.96 * whole  # so that what is left out counts
    assert whole == pytest.approx(limit or logs[1], rel=1e-3)


def test_a_subclass_may_go_on_with_the_logits(tmp_path):
    class Own(RobustTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
            return loss + 0.1 * outputs.logits.square().mean()

    mask = Rose(**SKETCHED)
    trainer = Own(make_model(), arguments(tmp_path, max_steps=2), train_dataset=dataset(), update_mask=mask)
    trainer.train()
    assert len(trace_of(trainer).multipliers) == 2


def test_after_a_step_that_was_left_out_the_next_is_good(tmp_path):
    class Once(CrossEntropy):
        calls = 0

        def __call__(self, *args, **kwargs):
            out = super().__call__(*args, **kwargs)
            Once.calls += 1
            return dataclasses.replace(out, loss=out.loss * (torch.nan if Once.calls == 2 else 1.0))

    rose = Rose(**SKETCHED)
    trainer = train(make_model(), arguments(tmp_path, max_steps=4), dataset(), update_mask=rose, objective=Once())
    assert len(trace_of(trainer).multipliers) == 3
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
