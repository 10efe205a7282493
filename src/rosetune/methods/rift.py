"""RIFT: robust fine-tuning that keeps what the pre-trained model knew (Dong et al., NeurIPS 2021)."""

import copy
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter

from rosetune._torch import forward, unwrap, world_size
from rosetune.data.synonyms import load_synonyms
from rosetune.methods._ascc import ascc_attack, candidate_vectors
from rosetune.methods._consistency import clean_pass, single_precision, symmetric_kl
from rosetune.methods._contracts import ObjectiveOutput
from rosetune.methods._hull import SEGMENTS, Hull, Substitutes
from rosetune.methods._options import number, one_of, switch, whole
from rosetune.methods._perturbation import changed_embeddings
from rosetune.methods._pooled import final_layer, forward_pooled
from rosetune.methods._task_loss import TaskLoss, split_labels

logger = logging.getLogger(__name__)

HIDDEN, PROJECTED = 512, 256  # widths of the projectors, as published


@dataclass
class Rift(TaskLoss):
    """Adversarial training on mixtures of synonyms, whose features stay informative about the pre-trained model's.

        L = clean_weight CE(f(x), y) + kl_weight KL(f(x) || f(x_adv)) + mi_weight (1/C) sum_c NCE_c(S(x_adv), T(x))

    x_adv replaces the embedding of each word by the mixture of its synonyms that maximises KL(f(x) || f(x_adv)) less
    the mixtures' entropy (ASCC, see ``methods/_ascc.py``); which words have synonyms, and how words of several pieces
    are mixed, is said in ``methods/_hull.py``. The KL is a batch mean and carries gradient on both sides. S are the
    pooled states of the model that is tuned, T those of a frozen copy of the model as it was before, in eval mode.
    Within the rows of class c

        NCE_c = -mean_i log( exp(s_i t_i / temperature) / sum_j exp(s_j t_i / temperature) )

    with s and t the states through projectors of class c (width -> 512 -> 256 with ReLU), one for S and one for T,
    both trained, brought to length 1. C is the number of labels; a class with fewer than two rows in the micro-batch
    has nothing to contrast and adds 0, so that a class has the same weight in every batch.

    Args:
        synonyms: a JSON file {word: [neighbour, ...]}, or "wordnet"; see ``data/synonyms.py``. It must be given.
        clean_weight: weight of the clean cross-entropy; 1 for IMDB and SNLI.
        kl_weight: weight of the KL between clean and adversarial; 10 for IMDB, 5 for SNLI.
        mi_weight: weight of the contrast with the pre-trained model; 0.1 for IMDB, 0.7 for SNLI. 0 is adversarial
            training alone, without a second model.
        temperature: of the contrast's softmax.
        steps: iterations of the adversary.
        step_size: learning rate of the adversary's Adam.
        sparsity: weight that the adversary gives to the entropy of its mixtures.
        max_candidates: candidates of a word, itself included.
        segment: "all", or "second": only what follows a row's first separator token (the hypothesis, for SNLI).
        balanced_batches: whether :class:`~rosetune.RobustTrainer` gives every class as many rows of a batch.

    Raises:
        ValueError: an option outside its range; no tokenizer, or one that does not tell where words start; a model
            without pooled states (GPT-2-style, unless ``mi_weight=0``), or one that is not a classifier.

    Logs:
        ``task_loss`` (clean CE), ``adversarial`` (the KL), ``mutual_information`` (the mean NCE), ``substitutable``
        (the share of the alphabetic words that have a substitute) and ``nonfinite_ascent`` (rows, over all iterations,
        whose adversary stood still because of NaN or infinity).

    Reference:
        Dong et al., How Should Pre-Trained Language Models Be Fine-Tuned Towards Adversarial Robustness?, NeurIPS
        2021.

    Cost:
        steps + 1 forwards and steps backwards for the adversary, 2 of each for the student, 1 forward of the teacher.
        A second model in memory and in every checkpoint, and the embeddings of all candidates.

    Deviates:
        From the published code, which mixes the outputs of the whole embedding layer (word, position, type,
        LayerNorm), not word embeddings; cuts each word down to one token, where here the hulls of its pieces are
        aligned; looks words up in the case that they have, where here a Capitalised word is looked up in lower case
        and substituted by Capitalised candidates; has a head of two layers; and contrasts pooler outputs before
        dropout, those of the student from a pass of x_adv of their own, where here they are what enters the last layer
        in the pass that gives f(x_adv). How the paper scales the entropy is not known: the code's constant is used. A
        row is contrasted with those of its own micro-batch and rank alone. Under RobustTrainer the projectors are not
        clipped with the model's gradients (the published code clips nothing); ``SelectiveAdamW.clip_grad_norm_`` in a
        plain loop takes them in.
    """

    synonyms: str | None = field(default=None, metadata={"file": True})  # which may have moved
    clean_weight: float = 1.0
    kl_weight: float = 10.0
    mi_weight: float = 0.1
    temperature: float = 0.2
    steps: int = 10
    step_size: float = 1.0
    sparsity: float = 15.0
    max_candidates: int = 10
    segment: Literal["all", "second"] = "all"
    balanced_batches: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("clean_weight", "kl_weight", "mi_weight", "sparsity"):
            number(name, getattr(self, name))
        for name in ("temperature", "step_size"):
            number(name, getattr(self, name), positive=True)
        self.steps = whole("steps", self.steps, 1)
        self.max_candidates = whole("max_candidates", self.max_candidates, 2)
        one_of("segment", self.segment, SEGMENTS)
        switch("balanced_batches", self.balanced_batches)
        if not self.synonyms or not isinstance(self.synonyms, str):
            raise ValueError(
                "rift needs synonyms: give a JSON file {word: [neighbour, ...]}, such as the counter-fitted "
                'neighbours of its authors, or "wordnet"'
            )
        self._synonyms = load_synonyms(self.synonyms)
        self._substitutes: Substitutes | None = None
        self._warned = False
        self._teacher: nn.Module | None = None
        self._projectors: Projectors | None = None

    def setup(self, model: nn.Module, *, tokenizer: Any = None, total_steps: int | None = None, seed: int = 0) -> None:
        """Copy the model as the teacher, draw the projectors, and read the tokenizer; ``total_steps`` is not used."""
        if tokenizer is None:
            raise ValueError(
                "rift must know words: pass processing_class=tokenizer to the trainer, or tokenizer= to setup()"
            )
        if self.segment == "second" and getattr(tokenizer, "sep_token_id", None) is None:
            raise ValueError(f"segment='second' needs a separator token, and {type(tokenizer).__name__} has none")
        self._substitutes = Substitutes(tokenizer, self._synonyms, self.max_candidates)
        if self.mi_weight == 0:
            return
        head = final_layer(model)
        if head.out_features < 2:
            raise ValueError("rift contrasts the rows of a class, and needs a classifier with at least 2 labels")
        self._teacher = copy.deepcopy(unwrap(model)).eval().requires_grad_(False)
        self._projectors = Projectors(head, seed)

    def begin_step(self, model: nn.Module) -> None:
        """Clear the projectors' gradients, which are not the model's."""
        if self._projectors is not None:
            self._projectors.zero_grad()

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """The projectors'."""
        projectors = self._projectors
        return [] if projectors is None else [(f"rift.{name}", p) for name, p in projectors.named_parameters()]

    def state_dict(self) -> dict[str, Any]:
        """The projectors' and the teacher's weights."""
        return {name: dict(part.state_dict()) for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the projectors and the teacher of :meth:`state_dict`."""
        parts = self._parts()
        if set(parts) != set(state):
            raise ValueError(
                f"the saved state of rift holds {', '.join(state) or 'nothing'}, but {', '.join(parts) or 'nothing'} "
                "is needed: resume with the mi_weight that the run was started with"
            )
        for name, part in parts.items():
            part.load_state_dict(state[name])

    def __call__(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        *,
        consistency: float = False,
        backward: Callable[[Tensor], None] | None = None,
    ) -> ObjectiveOutput:
        """The loss of one micro-batch; ``backward`` is not used.

        Raises:
            ValueError: :meth:`setup` was not called; the labels are not classes of whole texts.
        """
        if self._substitutes is None:
            raise ValueError("rift was not set up: call setup(model, tokenizer=...) first, as RobustTrainer does")
        features, labels = split_labels(model, inputs)
        if labels.dim() != 1 or labels.is_floating_point():
            raise ValueError(
                "rift needs one class label a text, of shape (batch,) and whole numbers, not a regression's or a "
                f"token-level model's (got {tuple(labels.shape)}, {labels.dtype})"
            )
        hull = self._substitutes.hull(features, self.segment)
        if not (hull.coverage or self._warned):
            logger.warning("no word of this batch has a synonym in %s: nothing is perturbed", self.synonyms)
            self._warned = True
        weights, stayed = ascc_attack(
            model, features, hull, steps=self.steps, step_size=self.step_size, sparsity=self.sparsity
        )
        outputs: Any
        outputs, second = clean_pass(model, features, consistency)
        adversarial, states = self._adversarial_pass(model, features, hull, weights)
        ce = self.task_loss(outputs.logits, labels)
        kl = divergence(outputs.logits, adversarial.logits)
        loss = self.clean_weight * ce + self.kl_weight * kl
        terms = {"task_loss": ce, "adversarial": kl}
        if states is not None:
            terms["mutual_information"] = self._contrast(states, features, labels)
            loss = loss + self.mi_weight * terms["mutual_information"]
        symmetric = None
        if second is not None:
            terms["consistency"] = symmetric = symmetric_kl(outputs.logits, second)
        terms |= {"substitutable": kl.new_tensor(hull.coverage), "nonfinite_ascent": stayed}
        return ObjectiveOutput(loss, ce, outputs, symmetric, {name: term.detach() for name, term in terms.items()})

    def _adversarial_pass(
        self, model: nn.Module, features: dict[str, Any], hull: Hull, weights: Tensor
    ) -> tuple[Any, Tensor | None]:
        """One pass of x_adv and, where they are contrasted, its pooled states."""
        with changed_embeddings(model, features, lambda e: hull.mix(e, weights, candidate_vectors(model, hull))):
            return (forward(model, features), None) if self._teacher is None else forward_pooled(model, features)

    def _contrast(self, states: Tensor, features: dict[str, Any], labels: Tensor) -> Tensor:
        assert self._teacher is not None
        assert self._projectors is not None
        with torch.no_grad():
            _, targets = forward_pooled(self._teacher, features)
        return self._projectors(states, targets, labels, self.temperature)

    def _parts(self) -> dict[str, nn.Module]:
        parts = {"projectors": self._projectors, "teacher": self._teacher}
        return {name: part for name, part in parts.items() if part is not None}


class Projectors(nn.Module):
    """The mean over the classes of InfoNCE between student and teacher, through projectors of each class.

    Gradients are averaged over the ranks here, since DistributedDataParallel does not see these weights.

    Args:
        head: the model's last layer, from which widths, classes, device and precision are taken.
        seed: of the weights, drawn as ``nn.Linear`` draws them but from a generator of their own.
    """

    def __init__(self, head: nn.Linear, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        classes, width = head.out_features, head.in_features
        self.student = nn.ModuleList(_projector(width, generator) for _ in range(classes))
        self.teacher = nn.ModuleList(_projector(width, generator) for _ in range(classes))
        self.to(device=head.weight.device, dtype=torch.promote_types(head.weight.dtype, torch.float32))
        for parameter in self.parameters():
            parameter.register_hook(_mean_over_ranks)

    def forward(self, states: Tensor, targets: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Scalar; ``states`` and ``targets`` have shape (batch, width), ``labels`` (batch,)."""
        dtype = next(self.parameters()).dtype
        losses = []
        for label, (student, teacher) in enumerate(zip(self.student, self.teacher, strict=True)):
            rows = labels == label
            # An absent class goes through as well: every rank must average the gradients of every projector.
            s, t = student(states[rows].to(dtype)), teacher(targets[rows].to(dtype))
            losses.append(info_nce(s, t, temperature))
        return torch.stack(losses).mean()


def info_nce(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """-mean_i log softmax_j(s_j t_i / temperature) at j = i; 0 for fewer than two rows.

    Args:
        student, teacher: shape (rows, width), brought to length 1 here; the softmax runs over the student's rows.
    """
    student, teacher = (F.normalize(single_precision(x), dim=-1) for x in (student, teacher))
    similarity = student @ teacher.T / temperature
    return -similarity.log_softmax(0).diagonal().sum() / max(len(student), 1)


def divergence(clean: Tensor, adversarial: Tensor) -> Tensor:
    """KL(p_clean || p_adv), mean over the batch; both logits, of shape (batch, labels), carry gradient."""
    log_p, log_q = (single_precision(x).log_softmax(-1) for x in (clean, adversarial))
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean()


def _projector(width: int, generator: torch.Generator) -> nn.Sequential:
    layers = OrderedDict(
        [
            ("in", nn.utils.skip_init(nn.Linear, width, HIDDEN)),
            ("relu", nn.ReLU()),
            ("out", nn.utils.skip_init(nn.Linear, HIDDEN, PROJECTED)),
        ]
    )
    for layer in (layers["in"], layers["out"]):
        bound = layer.in_features**-0.5
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return nn.Sequential(layers)


def _mean_over_ranks(gradient: Tensor) -> Tensor:
    if world_size() == 1:
        return gradient
    mean = gradient.clone()
    torch.distributed.all_reduce(mean)
    return mean / world_size()
