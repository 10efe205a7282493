"""ROSE's gradients from the backward pass of the loss, against the plain implementation: a pass of their own."""

import logging
import math
import weakref

import pytest
import torch
from torch import nn
from transformers.utils import ModelOutput

from helpers import make_batch, make_model
from rosetune import CrossEntropy, RDrop, Rose, SelectiveAdamW
from rosetune.methods._targets import LAYER_PARAMETERS, LAYER_WEIGHTS, select_targets

SHARED, ALONE = "cost none of their own", "cost a backward pass of their own"
UPPER, PARTS = 0.5, 2


class Plain:
    """ROSE with a backward pass for each gradient: averaged over the micro-batches, then ranked by their norms."""

    freezes_update = True

    def __init__(self, order, pattern):
        self.order, self.pattern = order, pattern
        self.needs = frozenset({"consistency"} if order == "first" else {"consistency", "task_loss"})
        self.sums, self.masks, self.steps = {}, [], 0

    def observe(self, optimizer, *, consistency=None, task_loss=None):
        targets = [p for _, p in select_targets(optimizer, self.pattern)]
        for name, loss in (("consistency", consistency), ("task_loss", task_loss)):
            if loss is not None and name in self.needs:
                found = torch.autograd.grad(loss, targets, retain_graph=True, allow_unused=True)
                found = [torch.zeros_like(p) if g is None else g for p, g in zip(targets, found, strict=True)]
                before = self.sums.get(name, [0.0] * len(found))
                self.sums[name] = [a + b for a, b in zip(before, found, strict=True)]

    def __call__(self, optimizer):
        targets = [p for _, p in select_targets(optimizer, self.pattern)]
        self.steps += 1
        masks = [lowest([(g / PARTS).norm().item() for g in self.sums["consistency"]])]
        if self.order == "ensemble":
            task = self.sums.get("task_loss")
            task = [p.grad for p in targets] if task is None else [g / PARTS for g in task]
            moments = [optimizer.state[p]["exp_avg"].norm().item() if optimizer.state.get(p) else 0 for p in targets]
            risks = [abs(0.1 * g.norm().item() / m - 1) if m else 0.0 for g, m in zip(task, moments, strict=True)]
            masks.append(lowest(risks) if any(moments) else [1.0] * len(targets))
        mask = [sum(values) / len(values) for values in zip(*masks, strict=True)]
        self.masks.append(mask)
        self.sums = {}
        return dict(zip(targets, mask, strict=True))

    def state_dict(self):
        return {}


def lowest(risks):
    order = sorted(range(len(risks)), key=risks.__getitem__)[: math.floor(UPPER * len(risks) + 1e-9)]
    return [1.0 if i in order else 0.0 for i in range(len(risks))]


def train(model, mask, objective, steps, batches=None, **batch):
    """Some steps of two micro-batches, the seed of whose dropout is their number."""
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-3, weight_decay=0.1, update_mask=mask)
    for step in range(steps):
        for part in range(PARTS):
            seed = PARTS * step + part
            inputs = make_batch(seed=seed, **batch) if batches is None else batches[seed % len(batches)]
            torch.manual_seed(seed)
            out = objective(model, inputs, consistency=True)
            mask.observe(
                optimizer,
                consistency=out.consistency,
                task_loss=None if out.task_loss is out.loss else out.task_loss,
            )
            (out.loss / PARTS).backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def agree(caplog, make, objective, steps, *, order="first", pattern=LAYER_WEIGHTS, said=SHARED, **batch):
    """The masks are those of the plain implementation, and so are the weights; returns the weights."""
    caplog.set_level(logging.INFO, "rosetune")
    plain, rose = Plain(order, pattern), Rose(order, upper=UPPER, target_parameters=pattern, trace=True)
    expected = train(make(), plain, objective(), steps, **batch)
    weights = train(make(), rose, objective(), steps, **batch)
    assert rose.trace.multipliers.tolist() == plain.masks
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-9)
    assert said in caplog.text
    return weights


@pytest.mark.parametrize(
    ("architecture", "objective", "order"),
    [("bert", CrossEntropy, "first"), ("gpt2", CrossEntropy, "ensemble"), ("distilbert", RDrop, "ensemble")],
)
def test_fifty_steps_are_those_of_the_plain_implementation(caplog, architecture, objective, order):
    agree(caplog, lambda: make_model(architecture).double(), objective, 50, order=order, rows=4, length=6)


@pytest.mark.parametrize("architecture", ["roberta", "electra", "modernbert"])
def test_other_architectures(caplog, architecture):
    agree(caplog, lambda: make_model(architecture).double(), CrossEntropy, 4)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_biases_gains_shifts_and_embeddings(caplog, architecture):
    agree(
        caplog,
        lambda: make_model(architecture).double(),
        CrossEntropy,
        4,
        pattern=LAYER_PARAMETERS + r"|word_embeddings|wte",
    )


def test_layers_that_share_their_weights(caplog):
    def make():
        model = make_model().double()
        for own, other in zip(*(layer.modules() for layer in model.bert.encoder.layer), strict=True):
            if isinstance(own, nn.Linear):
                other.weight = own.weight
        return model

    agree(caplog, make, CrossEntropy, 4)


@pytest.mark.parametrize("num_labels", [1, 2])
def test_one_output_or_two(caplog, num_labels):
    agree(caplog, lambda: make_model(num_labels=num_labels).double(), CrossEntropy, 4, num_labels=num_labels)


def test_three_labels_take_a_backward_pass_of_their_own(caplog):
    agree(caplog, lambda: make_model(num_labels=3).double(), CrossEntropy, 4, num_labels=3, said=ALONE)


def test_weights_that_act_beside_the_batch_take_one(caplog):
    """DeBERTa's projections also act on its table of relative positions."""
    agree(caplog, lambda: make_model("deberta").double(), CrossEntropy, 2, said=ALONE)


def ignored(batch):
    return {**batch, "labels": batch["labels"].index_fill(0, torch.tensor([1, 3]), -100)}


@pytest.mark.parametrize(
    ("objective", "prepare"),
    [
        (lambda: CrossEntropy(label_smoothing=0.1), dict),
        (lambda: CrossEntropy(class_weights=[1.0, 3.0]), dict),
        (lambda: CrossEntropy(class_weights=[0.0, 1.0]), dict),  # rows without a gradient of the loss
        (lambda: CrossEntropy(passes=1), dict),
        (CrossEntropy, ignored),
        (RDrop, ignored),
    ],
    ids=["smoothed", "weighted", "zero_weight", "one_pass", "ignored", "r_drop-ignored"],
)
def test_whatever_the_cross_entropy_does_to_a_row(caplog, objective, prepare):
    batches = [prepare(make_batch(seed=seed)) for seed in range(8)]
    said = ALONE if objective().__dict__.get("passes") == 1 else SHARED
    agree(caplog, lambda: make_model().double(), objective, 4, order="ensemble", said=said, batches=batches)


@pytest.mark.parametrize("scale", [30.0, 3000.0])
def test_saturated_rows(caplog, scale):
    """Confident rows have a loss whose gradient is tiny, or in the second case exactly zero."""

    def make():
        model = make_model().double()
        with torch.no_grad():
            model.classifier.weight *= scale
        return model

    agree(caplog, make, CrossEntropy, 4)


def test_the_smoothed_target_itself_has_no_gradient():
    """A row whose probability is the smoothed label divides nothing by zero."""
    logit = math.log(0.95 / 0.05) / 2
    kept, expected = [], []
    for found in (kept, expected):
        layer = nn.Linear(2, 2, bias=False).double()
        layer.weight.data = torch.eye(2, dtype=torch.float64)
        x = torch.tensor([[logit, -logit], [0.3, 0.4]], dtype=torch.float64)
        noise = iter([torch.cat([torch.ones(2, 2), torch.tensor([[1.2, 0.9], [0.7, 1.1]])]).double()])
        model = Rows(layer, noise)
        rose = Rose("first", upper=1.0, target_parameters="weight")
        optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
        objective = CrossEntropy(label_smoothing=0.1)
        out = objective(model, {"inputs_embeds": x, "labels": torch.tensor([0, 1])}, consistency=True)
        if found is kept:
            rose.observe(optimizer, consistency=out.consistency)
            out.loss.backward()
            found.append(rose._observation.norms("consistency").item())
        else:
            found.append(torch.autograd.grad(out.consistency, layer.weight)[0].norm().item())
    assert kept == pytest.approx(expected, rel=1e-9)


class Rows(nn.Module):
    """A linear classifier of noised rows."""

    def __init__(self, layer, noise, mixing=False):
        super().__init__()
        self.layer, self.noise, self.mixing = layer, noise, mixing

    def forward(self, inputs_embeds):
        x = self.layer(inputs_embeds * next(self.noise))
        x = torch.tanh(x)
        return ModelOutput(logits=x - 0.9 * x.mean(0) if self.mixing else x)


def test_a_model_that_mixes_rows_is_found_out(caplog):
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(3, 2).double()
    noise = iter([1 + torch.randn(8, 3, generator=generator).double() for _ in range(2)])
    model = Rows(layer, noise, mixing=True)
    rose = Rose("first", upper=1.0, target_parameters="layer")
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    for _ in range(2):
        batch = {
            "inputs_embeds": torch.randn(4, 3, generator=generator).double(),
            "labels": torch.tensor([0, 1, 1, 0]),
        }
        out = CrossEntropy()(model, batch, consistency=True)
        parts = torch.autograd.grad(out.consistency, layer.parameters(), retain_graph=True)
        expected = [g.norm().item() for g in parts]
        rose.observe(optimizer, consistency=out.consistency)
        out.loss.backward()
        assert rose._observation.norms("consistency").tolist() == pytest.approx(expected)
        optimizer.step()
        optimizer.zero_grad()
    assert "are not independent" in caplog.text


@pytest.mark.parametrize(
    ("objective", "order", "num_labels", "passes"),
    [
        (CrossEntropy, "first", 2, 1),
        (CrossEntropy, "first", 3, 2),
        (RDrop, "ensemble", 2, 1),
        (RDrop, "ensemble", 3, 3),
    ],
)
def test_how_often_the_model_is_passed_backward(objective, order, num_labels, passes):
    model, seen = make_model(num_labels=num_labels), []
    model.bert.encoder.layer[0].output.register_forward_hook(
        lambda module, inputs, output: output.register_hook(lambda gradient: seen.append(1)) and None
    )
    rose = Rose(order, upper=UPPER)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    for step in range(2):  # the first is checked
        seen.clear()
        out = objective()(model, make_batch(seed=step, num_labels=num_labels), consistency=True)
        rose.observe(
            optimizer, consistency=out.consistency, task_loss=None if out.loss is out.task_loss else out.task_loss
        )
        out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert len(seen) == passes


def norms_of(model, batches, run):
    """The first-order risks after these micro-batches, each passed as ``run(model, batch)`` says."""
    rose = Rose("first", upper=UPPER)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    for seed, batch in enumerate(batches):
        torch.manual_seed(seed)
        run(rose, optimizer, batch)
    return rose._observation.norms("consistency")


def alone(model):
    """The plain implementation's."""

    def run(rose, optimizer, batch):
        out = CrossEntropy(passes=1)(model, batch, consistency=True)  # whose second pass is in no loss
        rose.observe(optimizer, consistency=out.consistency)

    return run


def followed(model, scaler=None, **autocast):
    def run(rose, optimizer, batch):
        with torch.autocast("cpu", enabled=bool(autocast), **autocast):
            out = CrossEntropy()(model, batch, consistency=True)
        rose.observe(optimizer, consistency=out.consistency)
        (out.loss if scaler is None else scaler.scale(out.loss)).backward()

    return run


def spoilt(seed):
    """Labels that leave rows without a gradient, so that the pass of its own runs inside the backward pass."""
    return ignored(make_batch(seed=seed))


@pytest.mark.parametrize("make", [make_batch, spoilt])
def test_inside_distributed_data_parallel(one_process, make):
    batches = [make(seed=seed) for seed in range(2)]
    model = make_model().double()
    expected = norms_of(model, batches, alone(model))
    found = norms_of(model, batches, followed(one_process(model)))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    assert all(p.grad is not None for name, p in model.named_parameters() if "layer" in name)


def test_a_scaled_loss_is_no_scaled_risk():
    model, batches = make_model().double(), [make_batch(seed=seed) for seed in range(2)]
    expected = norms_of(model, batches, alone(model))
    found = norms_of(model, batches, followed(model, torch.amp.GradScaler("cpu", init_scale=2.0**16)))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_an_overflowing_loss_leaves_the_risk_alone():
    model, batches = make_model().double(), [make_batch()]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    scaler.scale = lambda loss: loss * math.inf
    torch.testing.assert_close(
        norms_of(model, batches, followed(model, scaler)), norms_of(model, batches, alone(model)), rtol=1e-9, atol=0
    )


def test_bf16(caplog):
    caplog.set_level(logging.INFO, "rosetune")
    model, batches = make_model(), [make_batch()]
    found = norms_of(model, batches, followed(model, dtype=torch.bfloat16))

    def run(rose, optimizer, batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            alone(model)(rose, optimizer, batch)

    torch.testing.assert_close(found, norms_of(model, batches, run), rtol=0.02, atol=0)
    assert SHARED in caplog.text


def test_float16_and_checkpointing_take_a_pass_of_their_own(caplog):
    caplog.set_level(logging.INFO, "rosetune")
    model, batches = make_model(), [make_batch()]
    norms_of(model, batches, followed(model, dtype=torch.float16))
    assert "float16" in caplog.text
    model.activation_checkpointing_enable({"use_reentrant": False})
    found = norms_of(model, batches, followed(model))
    plain = make_model()
    assert "checkpointing" in caplog.text
    torch.testing.assert_close(found, norms_of(plain, batches, followed(plain)), rtol=1e-3, atol=0)


def test_no_graph_outlives_its_step():
    model = make_model()
    rose = Rose("first", upper=UPPER)
    optimizer = SelectiveAdamW(model.named_parameters(), update_mask=rose)
    out = CrossEntropy()(model, make_batch(), consistency=True)
    rose.observe(optimizer, consistency=out.consistency)
    out.loss.backward()
    (shared, _, _), *_ = rose._observation._pending
    seen = weakref.ref(shared)
    assert shared.edge is None
    optimizer.step()
    del shared
    assert seen() is None  # without a collection of cycles
