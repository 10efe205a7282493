"""Steps as the authors' published code takes them, for methods where ours are arranged otherwise.

Each is one optimizer step on a batch, with our optimizer, so that only the arrangement of passes differs.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rosetune import SelectiveAdamW
from rosetune.methods._consistency import symmetric_kl
from rosetune.methods._perturbation import embed, forward_changed
from rosetune.methods._targets import LAYER_WEIGHTS, select_targets

Step = Callable[[dict[str, Tensor]], None]


class PublishedRose:
    """ROSE's first-order mask: norms of what the KL left in .grad, and their quantile; or the ensemble with it."""

    freezes_update = True
    needs: frozenset[str] = frozenset()
    norms: Tensor

    def __init__(self, ensemble: bool = False) -> None:
        self.ensemble = ensemble

    def read_gradients(self, optimizer: SelectiveAdamW) -> None:
        self.norms = torch.stack([p.grad.norm() for _, p in select_targets(optimizer, LAYER_WEIGHTS)])

    def __call__(self, optimizer: SelectiveAdamW) -> dict:
        kept = self.norms <= torch.quantile(self.norms, 0.6)
        targets = select_targets(optimizer, LAYER_WEIGHTS)
        mask = kept.float()
        if self.ensemble and optimizer.state:
            pairs = [(p.grad.norm(), optimizer.state[p]["exp_avg"].norm()) for _, p in targets]
            risks = torch.stack([(0.1 * g / m - 1).abs() for g, m in pairs])
            mask = (mask + (risks <= torch.quantile(risks, 0.6))) / 2
        return {p: k for (_, p), k in zip(targets, mask.tolist(), strict=True)}

    def observe(self, optimizer: SelectiveAdamW, **losses: Tensor) -> None:
        pass

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


def _finish(optimizer: SelectiveAdamW) -> None:
    optimizer.clip_grad_norm_(1.0)
    optimizer.step()
    optimizer.zero_grad()


def _features(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if name != "labels"}


def rose_first(model: torch.nn.Module, ensemble: bool = False) -> Step:
    """Two forwards, kl.backward(retain_graph=True), zero_grad, then the cross-entropy back through both."""
    mask = PublishedRose(ensemble)
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-5, update_mask=mask, fused=True)

    def step(batch: dict[str, Tensor]) -> None:
        first, second = (model(**_features(batch)).logits for _ in range(2))
        symmetric_kl(first, second).backward(retain_graph=True)
        mask.read_gradients(optimizer)
        optimizer.zero_grad()
        ((cross_entropy(first, batch["labels"]) + cross_entropy(second, batch["labels"])) / 2).backward()
        _finish(optimizer)

    return step


def r_drop(model: torch.nn.Module) -> Step:
    """Two forwards in the place of one of the doubled batch."""
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-5, fused=True)

    def step(batch: dict[str, Tensor]) -> None:
        first, second = (model(**_features(batch)).logits for _ in range(2))
        ce = (cross_entropy(first, batch["labels"]) + cross_entropy(second, batch["labels"])) / 2
        (ce + symmetric_kl(first, second) / 2).backward()
        _finish(optimizer)

    return step


def r3f(model: torch.nn.Module) -> Step:
    """A clean and a noised forward, one after the other."""
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-5, fused=True)

    def step(batch: dict[str, Tensor]) -> None:
        features = _features(batch)
        clean = model(**features).logits
        noise = torch.empty_like(embed(model, features)).uniform_(-1e-5, 1e-5)
        noised = forward_changed(model, features, lambda e: e.detach() + noise).logits
        (cross_entropy(clean, batch["labels"]) + symmetric_kl(clean, noised)).backward()
        _finish(optimizer)

    return step


def child_tuning_f(model: torch.nn.Module) -> Step:
    """A fresh Bernoulli draw multiplied into each gradient, in an optimizer that goes from tensor to tensor."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, foreach=False)

    def step(batch: dict[str, Tensor]) -> None:
        cross_entropy(model(**_features(batch)).logits, batch["labels"]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for p in model.parameters():
            if p.grad is not None:
                keep = torch.distributions.Bernoulli(torch.full_like(p.grad, 0.3))
                p.grad *= keep.sample() / 0.3
        optimizer.step()
        optimizer.zero_grad()

    return step


PUBLISHED: dict[str, Callable[[torch.nn.Module], Step]] = {
    "rose_first": rose_first,
    "rose_ensemble": partial(rose_first, ensemble=True),
    "r_drop": r_drop,
    "r3f": r3f,
    "child_tuning_f": child_tuning_f,
}
