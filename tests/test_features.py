"""What a training may have beside a method, without changing its masks: compilation, checkpointing, a loss scaler."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers.modeling_outputs import SequenceClassifierOutput

from helpers import ROSES, arguments, dataset, logged, make_batch, make_model, trace_of, train
from rosetune import CrossEntropy, RDrop, RobustTrainer, Rose, SelectiveAdamW
from rosetune.methods._gradients import gradients

STEPS, SPOILT = 4, 2
MODES = {
    "first": (CrossEntropy, {"order": "first"}),
    "second": (CrossEntropy, {"order": "second"}),
    "ensemble": (CrossEntropy, {"order": "ensemble"}),
    "sketched": (CrossEntropy, {"order": "first", "sketch": 4}),
    "economy": (CrossEntropy, {"order": "first", "refresh": 2}),
    "r-drop": (RDrop, {"order": "ensemble"}),
}
every_mode = pytest.mark.parametrize("mode", MODES)


def run(mode, model, batches, called=None, scaler=None, parts=1):
    """Masks and weights after a training; before its third step a scaler meets an overflow."""
    kind, options = MODES[mode]
    objective, rose = kind(), Rose(upper=0.5, trace=True, **options)
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-3, update_mask=rose)
    called = model if called is None else called
    for step, batch in enumerate(batches):
        for overflow in (True, False) if scaler is not None and step == SPOILT else (False,):
            for part in range(parts):
                torch.manual_seed(10 * step + part)
                with rose.resting(optimizer, called):
                    out = objective(called, batch, consistency="consistency" in rose.needs)
                    rose.observe(
                        optimizer,
                        consistency=out.consistency,
                        task_loss=None if out.task_loss is out.loss else out.task_loss,
                        consistency_weight=out.consistency_weight,
                    )
                    loss = out.loss / parts * (torch.inf if overflow else 1.0)
                    (loss if scaler is None else scaler.scale(loss)).backward()
            if scaler is not None:
                scaler.unscale_(optimizer)
            optimizer.clip_grad_norm_(0.5)
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
            optimizer.zero_grad()
    return rose.trace.multipliers, [p.detach().clone() for p in model.parameters()]


def same_training(found, expected, atol):
    np.testing.assert_array_equal(found[0], expected[0])
    assert 0 < expected[0].mean() < 1
    for p, q in zip(found[1], expected[1], strict=True):
        assert_close(p, q, rtol=0, atol=atol)


@every_mode
@pytest.mark.parametrize(("num_labels", "parts"), [(2, 1), (3, 2)])
def test_a_loss_scaler_and_a_step_that_it_skips(mode, num_labels, parts):
    """The skipped step leaves no trace: neither its risk nor its moments."""
    batches = [make_batch(seed=step, num_labels=num_labels) for step in range(STEPS)]
    plain = run(mode, make_model(num_labels=num_labels).double(), batches, parts=parts)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaled = run(mode, make_model(num_labels=num_labels).double(), batches, scaler=scaler, parts=parts)
    assert scaler.get_scale() == 2.0**9
    same_training(scaled, plain, atol=1e-9)


@every_mode
def test_the_trainer_scales_what_ranks_and_skips_a_step_where_it_overflows(tmp_path, mode):
    """float16 with a loss scale on a CPU, where accelerate offers neither: it is told that it has them."""
    kind, options = MODES[mode]
    losses, seen = [], {}

    class Overflowing(kind):
        def __call__(self, model, inputs, *, consistency, backward):
            out = super().__call__(model, inputs, consistency=consistency, backward=backward)
            losses.append(None if out.consistency is None else out.consistency.item())
            if len(losses) == SPOILT + 1 and out.consistency is not None:
                out.consistency = out.consistency * 1e36  # the loss itself stays as it is
            return out

    class Watched(Rose):
        def observe(self, optimizer, *, consistency=None, task_loss=None, consistency_weight=None):
            if consistency is not None:
                seen[len(losses) - 1] = consistency.item()
            super().observe(optimizer, consistency=consistency, task_loss=task_loss)

    args, mask = (
        arguments(tmp_path, max_steps=STEPS + 1, learning_rate=1e-3),
        Watched(upper=0.5, trace=True, **options),
    )
    trainer = RobustTrainer(make_model(), args, train_dataset=dataset(), objective=Overflowing(), update_mask=mask)
    scale, accelerator = 2.0**10, trainer.accelerator
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    accelerator.native_amp, accelerator.state._mixed_precision = True, "fp16"
    try:
        trainer.train()
    finally:
        accelerator.state._reset_state(reset_partial_state=True)
    ranks = options["order"] != "second"
    masks, later = trace_of(trainer).multipliers, scale / (2 if ranks else 1)
    assert len(masks) == STEPS + (not ranks)  # of the step that was skipped there is none
    assert accelerator.scaler.get_scale() == later
    assert 0 < masks[1:].mean() < 1
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    seen.pop(SPOILT, None)
    assert all(np.isfinite(entry["loss"]) for entry in logged(trainer))
    assert seen == pytest.approx({i: losses[i] * (scale if i < SPOILT else later) for i in seen})
    assert len(seen) == (STEPS if options.get("refresh", 1) == 1 else 2) * ranks


def whole(mode):
    """The mode that a sketched one falls back to where the graph hides its layers."""
    return "first" if mode == "sketched" else mode


@every_mode
def test_checkpointing(mode):
    batches = [make_batch(seed=step) for step in range(STEPS)]
    plain, model = run(whole(mode), make_model().double(), batches), make_model().double()
    model.activation_checkpointing_enable({"use_reentrant": False})
    same_training(run(mode, model, batches), plain, atol=1e-9)


class Small(nn.Module):
    """A classifier with dropout that is compiled in a fraction of the time of a BERT."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(100, 16)
        self.layer = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(16, 2)

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask, labels=None):
        x = (self.embed(input_ids) * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
        for layer in self.layer:
            x = torch.tanh(self.drop(layer(x)))
        return SequenceClassifierOutput(logits=self.head(x))


@pytest.fixture(scope="module")
def compiled():
    """Compiled once, for inputs of any number of rows."""
    torch.compiler.reset()
    model = Small().double()
    with torch._functorch.config.patch(donated_buffer=False):  # as the RobustTrainer sets it
        yield model, torch.compile(model, backend="aot_eager", dynamic=True)
    torch.compiler.reset()


@every_mode
@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_compilation(compiled, mode):
    model, called = compiled
    plain = Small().double()
    model.load_state_dict(plain.state_dict())
    batches = [make_batch(seed=step) for step in range(STEPS)]
    same_training(run(mode, model, batches, called), run(whole(mode), plain, batches), atol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_a_model_compiled_for_one_backward_pass_is_refused_with_the_remedy():
    torch.compiler.reset()
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4), nn.Linear(4, 2))
    called = torch.compile(model, backend="aot_eager", dynamic=True)
    with torch._functorch.config.patch(donated_buffer=True):
        loss = called(torch.ones(8, 4)).square().mean()
        with pytest.raises(ValueError, match=r"set torch._functorch.config.donated_buffer = False before"):
            gradients(loss, list(model.parameters()), of="the KL", reaching="any target", retain_graph=True)


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_compiles_for_more_than_one(tmp_path):
    options = {"torch_compile": True, "torch_compile_backend": "aot_eager"}
    rose = {"update_mask": "rose", "update_mask_kwargs": ROSES["ensemble"], "max_steps": 2}
    masks = []
    for more in ({}, options):
        torch.compiler.reset()
        trainer = train(make_model(num_hidden_layers=1), arguments(tmp_path, **rose, **more), dataset(rows=16))
        masks.append(trace_of(trainer).multipliers)
    np.testing.assert_array_equal(*masks)
