"""R-Drop + ROSE (section 3.5 and Table 2 of the paper), against both papers' formulas written out.

The risks come from the parts, first order from the KL and second order from the cross-entropy; the update is that of
the aggregate.
"""

import copy
import math

import pytest
import torch

from helpers import make_batch, make_model
from rosetune import RDrop, Rose, SelectiveAdamW

ALPHA, LR, DECAY, CLIP, UPPER, STEPS = 2.0, 1e-2, 0.1, 0.05, 0.5, 6


def losses(model, batch, seed):
    """Cross-entropy and symmetric KL of two dropout passes."""
    torch.manual_seed(seed)
    ids, mask = (batch[name].repeat(2, 1) for name in ("input_ids", "attention_mask"))
    p, q = model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1).chunk(2)
    rows = torch.arange(len(p))
    ce = -(p[rows, batch["labels"]].mean() + q[rows, batch["labels"]].mean()) / 2
    kl = (p.exp() * (p - q)).sum(1).mean() + (q.exp() * (q - p)).sum(1).mean()
    return ce, kl


def lowest(risks):
    order = sorted(range(len(risks)), key=risks.__getitem__)
    return [i in order[: math.floor(UPPER * len(risks))] for i in range(len(risks))]


def second_order_risk(g, m):
    return 0.0 if not m.any() else abs(0.1 * g.norm().item() / m.norm().item() - 1)  # no history: kept


def reference(model, batches, order):
    """Algorithm 1 in a plain loop; the gradients of both parts taken apart and added by hand."""
    named = list(model.named_parameters())
    targets = [i for i, (name, _) in enumerate(named) if ".layer." in name and name.endswith("weight")]
    m, v = ([torch.zeros_like(p) for _, p in named] for _ in range(2))
    masks = []
    for step, batch in enumerate(batches, 1):
        ce, kl = losses(model, batch, seed=step)
        parameters = [p for _, p in named]
        g_ce = torch.autograd.grad(ce, parameters, retain_graph=True)
        g_kl = torch.autograd.grad(kl, parameters)
        total = [c + ALPHA / 2 * k for c, k in zip(g_ce, g_kl, strict=True)]
        norm = math.sqrt(sum((g**2).sum().item() for g in total))
        clip = min(1.0, CLIP / (norm + 1e-6))
        first = lowest([g_kl[i].norm().item() for i in targets])
        second = [True] * len(targets)
        if step > 1:  # m holds clipped gradients, so that the cross-entropy's is clipped alike
            second = lowest([second_order_risk(clip * g_ce[i], m[i]) for i in targets])
        pairs = zip(first, second, strict=True)
        kept = {"first": first, "second": second, "ensemble": [0.5 * a + 0.5 * b for a, b in pairs]}[order]
        mask = [1.0] * len(named)
        for i, multiplier in zip(targets, kept, strict=True):
            mask[i] = float(multiplier)
        masks.append([mask[i] for i in targets])
        with torch.no_grad():
            for i, (_, p) in enumerate(named):
                g = mask[i] * clip * total[i] + (1 - mask[i]) * m[i]
                m[i] = 0.9 * m[i] + 0.1 * g
                v[i] = 0.999 * v[i] + 0.001 * g**2
                adam = (m[i] / (1 - 0.9**step)) / ((v[i] / (1 - 0.999**step)).sqrt() + 1e-8)
                p -= LR * mask[i] * (adam + DECAY * p)
    return masks


@pytest.mark.parametrize("num_labels", [2, 3])
@pytest.mark.parametrize("order", ["first", "second", "ensemble"])
def test_risks_from_the_parts_and_the_update_from_the_aggregate(order, num_labels):
    """With three labels the cross-entropy's gradient is that of the loss less the KL's."""
    ours = make_model(num_labels=num_labels).double()
    theirs = copy.deepcopy(ours)
    batches = [make_batch(seed=step, num_labels=num_labels) for step in range(STEPS)]
    expected = reference(theirs, batches, order)
    mask = Rose(order, upper=UPPER, trace=True)
    optimizer = SelectiveAdamW(ours.named_parameters(), lr=LR, weight_decay=DECAY, update_mask=mask)
    objective = RDrop(alpha=ALPHA)
    for step, batch in enumerate(batches, 1):
        torch.manual_seed(step)
        out = objective(ours, batch, consistency="consistency" in mask.needs)
        mask.observe(
            optimizer,
            consistency=out.consistency,
            task_loss=out.task_loss,
            consistency_weight=out.consistency_weight,
        )
        out.loss.backward()
        optimizer.clip_grad_norm_(CLIP)
        optimizer.step()
        optimizer.zero_grad()
    assert mask.trace.multipliers.tolist() == expected
    assert len({tuple(row) for row in expected}) > 1  # the mask does change
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"sketch": 4}, {"reduce": "norms"}])
def test_backward_passes_with_three_labels(options):
    """One for the KL and one for the loss; a third where the norms of micro-batches are averaged."""
    model, passes = make_model(num_labels=3).double(), []
    model.bert.pooler.register_forward_hook(
        lambda module, inputs, output: output.register_hook(lambda gradient: passes.append(1)) and None
    )
    rose = Rose("ensemble", upper=UPPER, **options)
    optimizer = SelectiveAdamW(model.named_parameters(), lr=LR, update_mask=rose)
    sums, parts = [], 2
    for part in range(parts):
        batch = make_batch(seed=part, num_labels=3)
        torch.manual_seed(part)
        out = RDrop(alpha=ALPHA)(model, batch, consistency=True)
        weight = out.consistency_weight
        rose.observe(optimizer, consistency=out.consistency, task_loss=out.task_loss, consistency_weight=weight)
        (out.loss / parts).backward()
        sums.append((part, batch))
    assert len(passes) == parts * (3 if options.get("reduce") == "norms" else 2)
    targets = [p for name, p in model.named_parameters() if ".layer." in name and name.endswith("weight")]
    found = rose._observation.task_norms(targets, 1.0, options.get("reduce") == "norms")
    expected = []
    for part, batch in sums:
        ce, _ = losses(model, batch, seed=part)
        expected.append(torch.autograd.grad(ce, targets))
    for i, (norm, target) in enumerate(zip(found, targets, strict=True)):
        gradients = [each[i] for each in expected]
        if options.get("sketch") and target.dim() == 2:
            gradients = [g @ rose._project(g.shape[1], g) for g in gradients]
        mean = sum(g.norm() for g in gradients) if options.get("reduce") == "norms" else sum(gradients).norm()
        torch.testing.assert_close(norm, mean / parts, rtol=1e-8, atol=0)


def test_the_aggregate_would_rank_otherwise():
    """The test above could not pass by chance with the risks of the aggregate."""
    model, batch = make_model().double(), make_batch()
    ce, kl = losses(model, batch, seed=1)
    targets = [p for name, p in model.named_parameters() if ".layer." in name and name.endswith("weight")]

    def kept(loss):
        return lowest([g.norm().item() for g in torch.autograd.grad(loss, targets, retain_graph=True)])

    assert kept(kl) != kept(ce)
    assert kept(kl) != kept(ce + ALPHA / 2 * kl)
