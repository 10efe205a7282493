"""FreeLB against Algorithm 1, followed by hand in numpy on a linear model."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import ModelOutput

from helpers import ARCHITECTURES, arguments, dataset, logged, make_batch, same, train
from rosetune.methods import StatefulObjective
from rosetune.methods.cross_entropy import CrossEntropy
from rosetune.methods.freelb import FreeLB
from row_noise import RowNoise

ROWS, TOKENS, WIDTH, LABELS = 5, 4, 3, 3


class Linear(nn.Module):
    """logits = tanh(sum over the tokens of e) W^T + b; remembers the embeddings that it was given."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(WIDTH, LABELS).double()
        self.seen = []

    def forward(self, inputs_embeds, attention_mask):
        self.seen.append(inputs_embeds.detach().numpy())
        return ModelOutput(logits=self.linear(torch.tanh(inputs_embeds.sum(1))))


def batch(rows=ROWS):
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(TOKENS) < torch.tensor([4, 2, 3, 1, 4])[:, None]).long()
    embeddings = torch.randn(ROWS, TOKENS, WIDTH, generator=generator, dtype=torch.float64)
    whole = {"inputs_embeds": embeddings, "attention_mask": mask, "labels": torch.tensor([0, 1, 2, 1, 0])}
    return {name: x[:rows] for name, x in whole.items()}


def one_pass(model, inputs, delta):
    """The loss at delta, its gradients by W and b, and by delta on real tokens: by the chain rule."""
    w, b = model.linear.weight.detach().numpy(), model.linear.bias.detach().numpy()
    e, y = inputs["inputs_embeds"].numpy(), inputs["labels"].numpy()
    h = np.tanh((e + delta).sum(1))
    z = h @ w.T + b
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    dz = (p - np.eye(LABELS)[y]) / len(y)
    by_delta = ((dz @ w) * (1 - h**2))[:, None, :] * inputs["attention_mask"].numpy()[:, :, None]
    return loss, dz.T @ h, dz.sum(0), by_delta


def follow(model, inputs, delta, passes, adv_lr, max_norm, norm):
    """Every delta, the losses, and the mean gradients of W and b over the passes."""
    deltas, losses, by_w, by_b = [delta], [], 0.0, 0.0
    for _ in range(passes):
        loss, dw, db, g = one_pass(model, inputs, deltas[-1])
        losses.append(loss)
        by_w, by_b = by_w + dw / passes, by_b + db / passes
        moved = deltas[-1].copy()
        for row in range(len(moved)):
            length = np.abs(g[row]).max() if norm == "linf" else np.sqrt((g[row] ** 2).sum())
            moved[row] += adv_lr * g[row] / length
            if max_norm is not None and norm == "linf":
                moved[row] = np.clip(moved[row], -max_norm, max_norm)
            elif max_norm is not None and np.sqrt((moved[row] ** 2).sum()) > max_norm:
                moved[row] *= max_norm / np.sqrt((moved[row] ** 2).sum())
        deltas.append(moved)
    return deltas[:passes], losses, by_w, by_b


@pytest.mark.parametrize("init_magnitude", [0.0, 0.5])
@pytest.mark.parametrize("max_norm", [None, 0.3])
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize(
    ("variant", "steps", "passes"),
    [("huggingface", 1, 1), ("huggingface", 2, 2), ("huggingface", 3, 3), ("fairseq", 0, 1), ("fairseq", 2, 3)],
)
def test_algorithm_1(variant, steps, passes, norm, max_norm, init_magnitude):
    model, inputs = Linear(), batch()
    objective = FreeLB(
        adv_lr=0.25, steps=steps, init_magnitude=init_magnitude, max_norm=max_norm, norm=norm, variant=variant
    )
    early = []
    out = objective(model, inputs, backward=lambda loss: (early.append(loss.item()), loss.backward()))
    clean = inputs["inputs_embeds"].numpy()
    seen = [embeddings - clean for embeddings in model.seen]
    assert len(seen) == passes
    assert np.any(seen[0]) is np.bool_(init_magnitude > 0)
    deltas, losses, by_w, by_b = follow(model, inputs, seen[0], passes, 0.25, max_norm, norm)
    for got, expected in zip(seen, deltas, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)
        assert not np.any(got[inputs["attention_mask"].numpy() == 0])
    np.testing.assert_allclose(early, np.array(losses[:-1]) / passes, atol=1e-12)
    assert out.loss.item() == pytest.approx(np.mean(losses), abs=1e-12)
    assert out.task_loss is out.loss
    assert out.terms["first_pass"].item() == pytest.approx(losses[0], abs=1e-12)
    assert out.terms["last_pass"].item() == pytest.approx(losses[-1], abs=1e-12)
    assert out.terms["nonfinite_ascent"].item() == out.terms["nonfinite_passes"].item() == 0
    out.loss.backward()
    np.testing.assert_allclose(model.linear.weight.grad.numpy(), by_w, atol=1e-12)
    np.testing.assert_allclose(model.linear.bias.grad.numpy(), by_b, atol=1e-12)


def test_outputs_are_those_of_the_first_pass():
    model, inputs = Linear(), batch()
    out = FreeLB(init_magnitude=0.0)(model, inputs)
    features = {name: x for name, x in inputs.items() if name != "labels"}
    torch.testing.assert_close(out.outputs.logits, model(**features).logits, rtol=0, atol=0)


def start(norm, rows, seed=0, step=1, magnitude=0.7):
    """delta_0 of a long padded batch."""
    objective, model = FreeLB(norm=norm, init_magnitude=magnitude, steps=0), Linear()
    objective.setup(model, seed=seed)
    for _ in range(step):
        objective.begin_step(model)
    lengths = torch.arange(1, rows + 1) % 50 + 1
    mask = (torch.arange(50) < lengths[:, None]).long()
    embeddings = torch.zeros(rows, 50, WIDTH, dtype=torch.float64)
    state = torch.get_rng_state()
    objective(model, {"inputs_embeds": embeddings, "attention_mask": mask, "labels": torch.zeros(rows).long()})
    assert torch.equal(torch.get_rng_state(), state)
    return model.seen[0], mask.bool().numpy(), lengths.numpy()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_start_is_uniform_within_its_magnitude_and_leaves_padding_alone(norm):
    delta, mask, lengths = start(norm, rows=400)
    assert not np.any(delta[~mask])
    bound = np.full(len(delta), 0.7) if norm == "linf" else 0.7 / np.sqrt(lengths * WIDTH)
    unit = (delta / bound[:, None, None])[mask]
    assert np.abs(unit).max() <= 1
    # n = 30,600 draws: five standard errors of the mean, and of the variance of U(-1, 1), 1/3
    assert unit.mean() == pytest.approx(0, abs=5 * np.sqrt(1 / 3 / unit.size))
    assert unit.var() == pytest.approx(1 / 3, abs=5 * np.sqrt((1 / 5 - 1 / 9) / unit.size))
    if norm == "l2":
        assert np.sqrt((delta**2).sum((1, 2))).max() <= 0.7


def test_the_start_depends_on_seed_and_step_alone():
    first = start("l2", 8)[0]
    np.testing.assert_array_equal(start("l2", 8)[0], first)
    assert np.all((start("l2", 8, seed=1)[0] != first)[first != 0])
    assert np.all((start("l2", 8, step=2)[0] != first)[first != 0])


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_row_is_perturbed_alike_in_any_batch(norm):
    """The gradient of a batch mean carries 1/batch, which the normalisation removes."""
    seen = []
    for rows in (ROWS, 2):
        model = Linear()
        FreeLB(init_magnitude=0.0, norm=norm)(model, batch(rows))
        seen.append([embeddings[:2] for embeddings in model.seen])
    for five, two in zip(*seen, strict=True):
        np.testing.assert_allclose(five, two, atol=1e-12)


def test_accumulation_does_not_matter_to_a_clean_start(tmp_path):
    """Of a random one, which goes on through the micro-batches of a step, test_method_contract has the same."""
    results = []
    for rows, accumulation in ((8, 1), (1, 8)):
        sizes = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
        kwargs = {"objective": "freelb", "objective_kwargs": {"init_magnitude": 0.0}}
        results.append(train(RowNoise(), arguments(tmp_path, **sizes, **kwargs), dataset()))
    whole, parts = results
    for p, q in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-10)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_is_that_of_the_first_pass(tiny_model, tiny_batch, architecture):
    """With no perturbation at all, passes differ by their dropout alone."""
    model, inputs = tiny_model(architecture, dropout=0.1), tiny_batch()
    torch.manual_seed(0)

    def losses(sync_dropout):
        early = []
        objective = FreeLB(adv_lr=0.0, init_magnitude=0.0, steps=2, sync_dropout=sync_dropout)
        out = objective(model, inputs, backward=lambda loss: early.append(loss.item()) or loss.backward())
        return [*early, out.terms["last_pass"].item() / 3]

    alike = losses(True)
    assert alike == pytest.approx([alike[0]] * 3, rel=1e-6)
    assert min(np.diff(sorted(losses(False)))) > 1e-5


def test_the_random_state_goes_on_as_after_one_pass(tiny_model, tiny_batch):
    """So that arms of an experiment with other objectives see the same dropout in the steps that follow."""
    states = []
    for objective in (CrossEntropy(), FreeLB()):
        torch.manual_seed(2)
        objective(tiny_model(), tiny_batch())
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_ascent_raises_the_loss(tiny_model, tiny_batch, architecture):
    model, inputs = tiny_model(architecture, dropout=0.1), tiny_batch()
    out = FreeLB(init_magnitude=0.0, max_norm=None, adv_lr=0.2)(model, inputs)
    assert out.terms["last_pass"] > out.terms["first_pass"]
    out.loss.backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if "classifier" in name)


def doubled(model, inputs):
    """The logits of two clean passes, as one forward of the doubled batch draws them."""
    return model(**{name: torch.cat([x, x]) for name, x in inputs.items() if name != "labels"}).logits.chunk(2)


def kl(p, q):
    p, q = p.log_softmax(-1), q.log_softmax(-1)
    return sum(nn.functional.kl_div(a, b, log_target=True, reduction="batchmean") for a, b in ((p, q), (q, p)))


def test_consistency_is_of_two_clean_passes_and_leaves_the_loss_alone(tiny_model, tiny_batch):
    inputs, gradients, results = tiny_batch(), [], []
    for consistency in (False, True):
        model = tiny_model()
        torch.manual_seed(3)
        results.append(FreeLB()(model, inputs, consistency=consistency))
        if not consistency:
            expected = kl(*doubled(model, inputs))  # drawn where the passes left the random state
        results[-1].loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    alone, beside = results
    assert alone.consistency is None
    assert beside.consistency.requires_grad
    assert beside.consistency.item() == pytest.approx(expected.item(), rel=1e-5)
    assert beside.terms["consistency"].item() == beside.consistency.item()
    assert alone.loss.item() == beside.loss.item()
    assert all(torch.equal(p, q) for p, q in zip(*gradients, strict=True))


def test_before_start_step_it_is_cross_entropy(tiny_model, tiny_batch):
    model, inputs = tiny_model(), tiny_batch()
    objective = FreeLB(start_step=2, label_smoothing=0.1)
    assert isinstance(objective, StatefulObjective)
    objective.setup(model)
    assert objective.named_parameters() == []
    for _ in range(2):
        objective.begin_step(model)
        torch.manual_seed(4)
        out = objective(model, inputs, consistency=True)
        torch.manual_seed(4)
        first, second = doubled(model, inputs)
        expected = nn.functional.cross_entropy(first, inputs["labels"], label_smoothing=0.1)
        assert out.loss.item() == pytest.approx(expected.item(), rel=1e-5)
        assert out.consistency.item() == pytest.approx(kl(first, second).item(), rel=1e-4)
        assert "first_pass" not in out.terms
    objective.begin_step(model)
    assert "first_pass" in objective(model, inputs).terms
    objective.setup(model)
    objective.begin_step(model)
    assert "first_pass" not in objective(model, inputs).terms


def test_a_resumed_run_knows_how_many_steps_it_waited(tmp_path, tiny_model):
    kwargs = {"objective": "freelb", "objective_kwargs": {"start_step": 4}, "save_strategy": "steps", "save_steps": 2}
    data = dataset()
    whole = train(tiny_model(), arguments(tmp_path, **kwargs), data)
    resumed = train(tiny_model(seed=1), arguments(tmp_path, **kwargs), data, str(tmp_path / "checkpoint-2"))
    assert same(whole.model, resumed.model)
    logs = [logged(run) for run in (whole, resumed)]
    assert logs[0] == logs[1]
    assert ["first_pass" in entry for entry in logs[1]] == [False] * 4 + [True] * 2


class Poisoned(Linear):
    """NaN in one pass: in the logits of row 1, in the gradient below its embeddings, or in that of the weights."""

    def __init__(self, at, where):
        super().__init__()
        self.at, self.where = at, where

    def forward(self, inputs_embeds, attention_mask):
        here = len(self.seen) == self.at
        poison = torch.zeros(len(inputs_embeds), 1, 1, dtype=torch.float64)
        poison[1] = float("nan")
        if here and self.where == "row":
            inputs_embeds = inputs_embeds.clone()
            inputs_embeds.register_hook(lambda gradient: gradient + poison)
        if here and self.where == "weights":
            handle = self.linear.weight.register_hook(lambda gradient: (handle.remove(), gradient * float("nan"))[1])
        out = super().forward(inputs_embeds, attention_mask)
        return ModelOutput(logits=out.logits + poison[:, 0]) if here and self.where == "loss" else out


@pytest.mark.parametrize(
    ("where", "at"), [("row", 0), ("row", 1), ("weights", 0), ("weights", 1), ("loss", 0), ("loss", 1), ("loss", 2)]
)
def test_nan_in_one_pass_leaves_the_gradient_of_the_others(where, at):
    model, inputs = Poisoned(at, where), batch()
    before = np.arange(9.0).reshape(LABELS, WIDTH)
    model.linear.weight.grad = torch.tensor(before)  # of an earlier micro-batch
    out = FreeLB(steps=2)(model, inputs)
    out.loss.backward()
    deltas = [embeddings - inputs["inputs_embeds"].numpy() for embeddings in model.seen]
    kept = [one_pass(model, inputs, delta) for k, delta in enumerate(deltas) if where == "row" or k != at]
    assert out.loss.item() == pytest.approx(sum(loss for loss, *_ in kept) / 3, abs=1e-12)
    np.testing.assert_allclose(
        model.linear.weight.grad.numpy(), before + sum(dw for _, dw, *_ in kept) / 3, atol=1e-12
    )
    np.testing.assert_allclose(model.linear.bias.grad.numpy(), sum(db for *_, db, _ in kept) / 3, atol=1e-12)
    ascends = at < 2
    assert out.terms["nonfinite_ascent"].item() == (where != "weights" and ascends)
    assert out.terms["nonfinite_passes"].item() == (where != "row")
    if ascends:
        stays = np.abs(deltas[at + 1] - deltas[at]).max((1, 2)) < 1e-15
        assert stays.tolist() == [False, where != "weights", False, False, False]


def test_nan_everywhere_leaves_the_weights_as_they_were():
    model, inputs = Linear(), batch()
    inputs["inputs_embeds"][0] = float("nan")
    out = FreeLB()(model, inputs)
    out.loss.backward()
    assert out.loss.item() == 0
    assert out.terms["nonfinite_passes"].item() == 3
    assert all(not p.grad.any() for p in model.parameters())


def test_a_gradient_scaler_changes_nothing():
    """backward may multiply the loss: the ascent does not see it, and the gradients carry the factor."""
    gradients = []
    for scale in (1.0, 1024.0):
        model = Linear()
        out = FreeLB()(model, batch(), backward=lambda loss, scale=scale: (loss * scale).backward())
        (out.loss * scale).backward()
        gradients.append(model.linear.weight.grad / scale)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=0)


def test_frozen_embeddings_and_lora(tiny_model, tiny_batch):
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(
        tiny_model(), peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    )
    FreeLB()(model, tiny_batch()).loss.backward()
    for name, p in model.named_parameters():
        assert (p.grad is not None) is p.requires_grad, name


def test_half_precision_weights(tiny_model, tiny_batch):
    model = tiny_model().to(torch.bfloat16)
    out = FreeLB(adv_lr=1.0, max_norm=None)(model, tiny_batch())
    out.loss.backward()
    assert out.loss.dtype == torch.float32
    assert out.terms["last_pass"] > out.terms["first_pass"]
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_a_regression_and_a_model_without_a_mask(tiny_model, tiny_batch):
    inputs = tiny_batch(num_labels=1)
    del inputs["attention_mask"]
    out = FreeLB(init_magnitude=0.0)(tiny_model(num_labels=1, dropout=0.0), inputs)
    assert out.terms["last_pass"] > out.terms["first_pass"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "l1"}, "norm must be one of l2, linf, not 'l1'"),
        ({"variant": "albert"}, "variant must be one of fairseq, huggingface, [+][+], not 'albert'"),
        ({"adv_lr": -0.1}, "adv_lr must be a finite number of at least 0, not -0.1"),
        ({"init_magnitude": float("nan")}, "init_magnitude must be a finite"),
        ({"start_step": -1}, "start_step must be a whole number"),
        ({"max_norm": 0}, "max_norm must be a finite number above 0, not 0"),
        ({"max_norm": float("nan")}, "max_norm must be a finite"),
        ({"steps": 0, "variant": "huggingface"}, "at least 1, not 0"),
        ({"steps": -1}, "at least 0, not -1"),
        ({"steps": 1.5}, "steps must be a whole number"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
    ],
)
def test_options_outside_their_values(options, message):
    with pytest.raises(ValueError, match=message):
        FreeLB(**options)


def test_start_step_needs_somebody_who_counts(tiny_model, tiny_batch):
    with pytest.raises(ValueError, match="call begin_step"):
        FreeLB(start_step=1)(tiny_model(), tiny_batch())


def test_models_whose_embeddings_cannot_be_perturbed():
    class Detached(Linear):
        def forward(self, inputs_embeds, attention_mask):
            return super().forward(inputs_embeds.detach(), attention_mask)

    class Wordless(nn.Module):
        def forward(self, input_ids):
            return SequenceClassifierOutput(logits=torch.zeros(len(input_ids), 2))

    with pytest.raises(ValueError, match="no gradient reaches the word embeddings"):
        FreeLB()(Detached(), batch())
    with pytest.raises(ValueError, match="no get_input_embeddings"):
        FreeLB()(Wordless(), make_batch())


def test_a_copy_starts_with_what_it_was_given():
    objective = FreeLB(steps=1)
    assert copy.deepcopy(objective) == objective


def test_freelb_plus_plus_has_passes_and_no_bound():
    """As the Hugging Face variant without a projection, whose deltas grow with every step."""
    outs = []
    for variant in ("++", "huggingface"):
        model = Linear()
        outs.append(FreeLB(steps=10, adv_lr=0.25, init_magnitude=0.05, max_norm=None, variant=variant)(model, batch()))
        seen = [embeddings - batch()["inputs_embeds"].numpy() for embeddings in model.seen]
        assert len(seen) == 10
        assert np.sqrt((seen[-1] ** 2).sum((1, 2))).min() > 1.5
    assert outs[0].loss.item() == outs[1].loss.item()
    with pytest.raises(ValueError, match="max_norm must be None"):
        FreeLB(variant="++")
