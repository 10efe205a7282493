"""ROSE with a mask that stays in force: what must stay as it was, and what may be left out."""

import copy
import logging

import pytest
import torch
from torch import nn

from helpers import StopAt, arguments, dataset, make_batch, make_model, same, trace_of, train
from rosetune import CrossEntropy, RDrop, Rose, SelectiveAdamW
from rosetune.methods._economy import Economy
from rosetune.methods._targets import LAYER_WEIGHTS, select_targets

ORDERS = ("first", "second", "ensemble")


def loop(model, rose, steps, objective=None, optimizer=None, clip=1.0, watch=None, parts=1):
    """A plain loop; ``watch`` sees model, optimizer and step between backward pass and step."""
    objective = objective or CrossEntropy()
    optimizer = optimizer or SelectiveAdamW(model.named_parameters(), lr=1e-2, update_mask=rose)
    for step in steps:
        torch.manual_seed(step)
        share = rose.consistency_share if "consistency" in rose.needs else False
        for part in range(parts):
            with rose.resting(optimizer, model):
                out = objective(model, make_batch(seed=100 * part + step), consistency=share, backward=None)
                task_loss = None if out.task_loss is out.loss else out.task_loss
                rose.observe(optimizer, consistency=out.consistency, task_loss=task_loss)
                (out.loss / parts).backward()
        if watch is not None:
            watch(model, optimizer, step)
        optimizer.clip_grad_norm_(clip)
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def masks(rose):
    return rose.trace.multipliers.tolist()


@pytest.mark.parametrize("order", ORDERS)
def test_a_refresh_in_every_step_is_the_exact_mode(order):
    ours, theirs = make_model(), make_model()
    economical, exact = Rose(order, upper=0.5, refresh=1, trace=True), Rose(order, upper=0.5, trace=True)
    loop(ours, economical, range(4))
    optimizer = SelectiveAdamW(theirs.named_parameters(), lr=1e-2, update_mask=exact)
    for step in range(4):  # without a word of economy
        torch.manual_seed(step)
        out = CrossEntropy()(theirs, make_batch(seed=step), consistency=order != "second")
        exact.observe(optimizer, consistency=out.consistency)
        out.loss.backward()
        optimizer.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert masks(economical) == masks(exact)
    assert same(ours, theirs)


@pytest.mark.parametrize("parts", [1, 2])
def test_between_refreshes_the_mask_is_the_last_one_and_the_loss_takes_one_pass(parts):
    """Of first order every third step; each refreshed mask is the exact one at those weights."""
    model, rows, needs, expected = make_model(), [], [], []
    model.register_forward_pre_hook(lambda _, __, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True)
    rose = Rose("first", upper=0.5, refresh=3, trace=True)

    def watch(model, optimizer, step):
        needs.append(rose.needs)
        if step % 3 == 0:
            expected.append(exact_mask(model, optimizer, step, parts))

    loop(model, rose, range(7), watch=watch, parts=parts)
    found = masks(rose)
    assert [found[0], found[3], found[6]] == expected
    assert found[0] == found[1] == found[2] != found[3] == found[4] == found[5]
    assert needs == [{"consistency"}, set(), set(), {"consistency"}, set(), set(), {"consistency"}]
    assert rows == [n for step in range(7) for n in parts * [16 if step % 3 == 0 else 8]]


def exact_mask(model, optimizer, step, parts):
    """Norms of the KL's gradient, the lower half kept; at the weights of the step, with its dropout."""
    model = copy.deepcopy(model)
    model._forward_pre_hooks.clear()
    targets = [p for name, p in model.named_parameters() if ".layer." in name and name.endswith("weight")]
    sums = [torch.zeros_like(p) for p in targets]
    torch.manual_seed(step)
    for part in range(parts):
        batch = make_batch(seed=100 * part + step)
        ids, mask = (batch[name].repeat(2, 1) for name in ("input_ids", "attention_mask"))
        p, q = model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1).chunk(2)
        kl = ((p.exp() - q.exp()) * (p - q)).sum(1).mean()
        sums = [s + g for s, g in zip(sums, torch.autograd.grad(kl, targets), strict=True)]
    norms = [float(s.norm()) for s in sums]
    order = sorted(range(len(norms)), key=norms.__getitem__)[: len(norms) // 2]
    return [float(i in order) for i in range(len(norms))]


@pytest.mark.parametrize("order", ORDERS)
def test_frozen_tensors_take_no_gradient_and_stay_as_they_were(order):
    model, seen = make_model(), []
    rose = Rose(order, upper=0.5, refresh=3, trace=True)

    def watch(model, optimizer, step):
        without = {n for n, p in select_targets(optimizer, LAYER_WEIGHTS) if p.grad is None}
        assert all(p.requires_grad for p in model.parameters())  # outside of resting
        seen.append((without, {n: p.detach().clone() for n, p in model.named_parameters()}))

    loop(model, rose, range(8), watch=watch)
    found = masks(rose)
    refreshed = [0, 3, 6] if order == "first" else [0, 1, 4, 7]  # in the first step nothing has a moment
    last = {n: p.detach() for n, p in model.named_parameters()}
    for step, (without, before) in enumerate(seen):
        frozen = {n for n, m in zip(rose.trace.names, found[step], strict=True) if m == 0.0}
        assert without == (set() if step in refreshed else frozen)
        after = seen[step + 1][1] if step + 1 < len(seen) else last
        assert all(torch.equal(before[n], after[n]) for n in frozen)
        kept = [n for n, m in zip(rose.trace.names, found[step], strict=True) if m > 0]
        assert not any(torch.equal(before[n], after[n]) for n in kept)
    assert any(without for without, _ in seen)


def test_clipping_lacks_what_is_not_computed_or_clips_as_published():
    """Between refreshes the published norm is over all gradients; without those of frozen tensors it is smaller."""
    norms = {}
    for skip in (True, False):
        model, coefficients = make_model(), []
        rose = Rose("first", upper=0.5, refresh=2, skip_gradients=skip)

        def watch(model, optimizer, step, coefficients=coefficients):
            if step == 1:
                torch.manual_seed(step)  # the gradient of every tensor, by itself
                batch = make_batch(seed=step)
                loss = model(**batch).loss
                whole = torch.autograd.grad(loss, list(model.parameters()))
                left = [g for g, p in zip(whole, model.parameters(), strict=True) if p.grad is not None]
                coefficients += [torch.stack([g.norm() for g in gs]).norm().item() for gs in (whole, left)]

        optimizer = loop(model, rose, [0])
        taken = []
        clip = optimizer.clip_grad_norm_
        optimizer.clip_grad_norm_ = lambda most, clip=clip, taken=taken: taken.append(clip(most).item())
        loop(model, rose, [1], optimizer=optimizer, watch=watch)
        norms[skip] = (*taken, *coefficients)
    taken, whole, left = norms[True]
    assert taken == pytest.approx(left, rel=1e-5)
    assert left < 0.9995 * whole
    taken, whole, left = norms[False]
    assert taken == pytest.approx(whole, rel=1e-5)


def test_an_error_leaves_nothing_frozen():
    model, rose = make_model(), Rose("first", upper=0.5, refresh=4)
    optimizer = loop(model, rose, range(2))

    def cut():
        with rose.resting(optimizer, model):
            assert not all(p.requires_grad for p in model.parameters())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut()
    assert all(p.requires_grad for p in model.parameters())


def test_parameters_that_the_user_froze_stay_frozen():
    model, rose = make_model(), Rose("first", upper=0.5, refresh=4, trace=True)
    frozen = [p for name, p in model.named_parameters() if ".layer.0." in name]
    for p in frozen:
        p.requires_grad_(False)
    loop(model, rose, range(3))
    assert not any(p.requires_grad for p in frozen)
    assert not any(".layer.0." in name for name in rose.trace.names)


def test_k_follows_the_agreement_of_masks():
    """Doubled where the Jaccard index reaches 0.5, halved where it does not, within 1 and 8."""
    economy, ages = Economy(8, 0.5, True), []
    names = "abcd"
    one, other = [1.0, 1.0, 0.0, 0.0], [0.0, 0.5, 1.0, 1.0]  # Jaccard of the two 0.5 / 4
    for multipliers in (one, one, one, one, one, other, other, one):
        assert economy.due
        economy.renew(names, multipliers)
        ages.append(1)
        while not economy.due:
            assert economy.again(names) == multipliers
            ages[-1] += 1
    assert ages == [1, 2, 4, 8, 8, 4, 8, 4]


def test_the_consistency_of_a_share_of_the_rows():
    """The first 3 of 8: the mask of their KL, and a loss in which every row counts alike."""
    model, rose = make_model().double(), Rose("first", upper=0.5, consistency_share=0.3, trace=True)
    batch, seen = make_batch(), []
    torch.manual_seed(0)
    ids, mask = (torch.cat([batch[name], batch[name][:3]]) for name in ("input_ids", "attention_mask"))
    logits = model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
    p, q = logits[:3], logits[8:]
    kl = ((p.exp() - q.exp()) * (p - q)).sum(1).mean()
    targets = [p for name, p in model.named_parameters() if ".layer." in name and name.endswith("weight")]
    norms = [g.norm().item() for g in torch.autograd.grad(kl, targets, retain_graph=True)]
    ce = -logits[torch.arange(11), torch.cat([batch["labels"], batch["labels"][:3]])]
    loss = torch.cat([(ce[:3] + ce[8:]) / 2, ce[3:8]]).mean()

    def watch(model, optimizer, step):
        seen.extend(rose._observation.norms("consistency").tolist())
        for p, g in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True):
            torch.testing.assert_close(p.grad, g, rtol=1e-9, atol=1e-12)

    loop(model, rose, [0], watch=watch)
    assert seen == pytest.approx(norms, rel=1e-6)
    order = sorted(range(len(norms)), key=norms.__getitem__)[: len(norms) // 2]
    assert masks(rose) == [[float(i in order) for i in range(len(norms))]]


def test_r_drop_keeps_both_passes_and_its_consistency():
    model, terms = make_model(), []
    objective = RDrop()

    class Watched:
        def __call__(self, *args, **kwargs):
            out = objective(*args, **kwargs)
            terms.append(out.terms["consistency"].item())
            return out

    loop(model, Rose("ensemble", upper=0.5, refresh=4), range(5), objective=Watched())
    assert len(terms) == 5
    assert all(term > 0 for term in terms)


def test_a_step_that_a_scaler_skips_makes_no_mask():
    """In its place the next step refreshes, or the mask in force acts."""
    model, rose = make_model(), Rose("first", upper=0.5, refresh=3, trace=True)
    optimizer, scaler = (
        SelectiveAdamW(model.named_parameters(), lr=1e-2, update_mask=rose),
        torch.amp.GradScaler("cpu"),
    )
    needed = []
    for step in range(6):
        torch.manual_seed(step)
        needed.append(bool(rose.needs))
        with rose.resting(optimizer, model):
            out = CrossEntropy()(model, make_batch(seed=step), consistency=bool(rose.needs))
            overflow = float("inf") if step in (0, 2) else 1.0
            consistency = out.consistency
            rose.observe(optimizer, consistency=None if consistency is None else scaler.scale(consistency * overflow))
            scaler.scale(out.loss * overflow).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert needed == [True, True, False, False, False, True]
    first, second, third, fourth = masks(rose)
    assert first == second == third != fourth
    assert sum(masks(rose)[0]) == len(rose.trace.names) // 2


def test_a_risk_that_is_not_finite_is_in_force_for_its_step_alone():
    model, rose = make_model(), Rose("first", upper=0.5, refresh=3)
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-2, update_mask=rose)
    out = CrossEntropy()(model, make_batch(), consistency=True)
    rose.observe(optimizer, consistency=out.consistency * float("nan"))
    optimizer.step()
    assert rose.needs


@pytest.mark.parametrize("options", [{}, {"agreement": 0.5}, {"sketch": 4}])
def test_resumed_it_goes_on_bit_for_bit(tmp_path, options):
    """Killed between two refreshes, after a checkpoint between two others."""
    kwargs = {"update_mask": "rose", "save_strategy": "steps", "save_steps": 3, "max_steps": 7}
    kwargs["update_mask_kwargs"] = {"order": "ensemble", "upper": 0.5, "refresh": 4, "trace": True, **options}
    whole = train(make_model(), arguments(tmp_path / "whole", **kwargs), dataset())
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), arguments(tmp_path / "cut", **kwargs), dataset(), callbacks=[StopAt(5)])
    resumed = train(make_model(), arguments(tmp_path / "cut", **kwargs), dataset(), True)
    assert masks(resumed.update_mask) == masks(whole.update_mask)
    assert same(whole.model, resumed.model)
    assert all(p.requires_grad for p in whole.model.parameters())
    assert len({tuple(row) for row in masks(whole.update_mask)}) < 7


def test_the_trainer_saves_the_gradients_of_a_plain_loop(tmp_path):
    """What a callback sees of .grad before the step: those of the frozen tensors are not there."""
    without = []

    class Looking(Rose):
        def __call__(self, optimizer):
            without.append({n for n, p in select_targets(optimizer, LAYER_WEIGHTS) if p.grad is None})
            return super().__call__(optimizer)

    mask = Looking("first", upper=0.5, refresh=2, trace=True)
    trainer = train(make_model(), arguments(tmp_path, max_steps=4), dataset(), update_mask=mask)
    trace = trace_of(trainer)
    frozen = [{n for n, m in zip(trace.names, row, strict=True) if m == 0} for row in trace.multipliers]
    assert without == [set(), frozen[1], set(), frozen[3]]


class Compiled(nn.Module):
    """As torch.compile wraps a model, as far as a mask can tell."""

    def __init__(self, model):
        super().__init__()
        self._orig_mod = model

    def forward(self, **inputs):
        return self._orig_mod(**inputs)


def test_where_nothing_can_be_switched_off_gradients_are_dropped_and_the_log_says_so(caplog):
    caplog.set_level(logging.INFO, "rosetune")
    plain, compiled = make_model(), make_model()
    one, other = (Rose("first", upper=0.5, refresh=3, trace=True) for _ in range(2))
    loop(plain, one, range(5))
    optimizer = SelectiveAdamW(compiled.named_parameters(), lr=1e-2, update_mask=other)
    assert "dropped" not in caplog.text
    loop(Compiled(compiled), other, range(5), optimizer=optimizer)
    assert masks(one) == masks(other)
    assert same(plain, compiled)
    assert caplog.text.count("dropped, which saves nothing: torch.compile") == 1
