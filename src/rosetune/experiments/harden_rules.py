"""What a step of hardening is judged by, and when it is taken; on held-out training rows alone."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rosetune._numbers import fixed
from rosetune.experiments.harden_options import HardenOptions
from rosetune.experiments.trial_score import mean_accuracies, trial_score
from rosetune.robustness.attacks.summary import summary
from rosetune.runs.run import Run
from rosetune.runs.values import RunError

__all__ = ["MIX", "Judged", "best_candidate", "is_taken", "judge", "why"]

# Half for clean accuracy, half for robust accuracy: typing errors, and the attacks.
MIX = {"clean": 0.5, "noise": 0.25, "attack": 0.25}


@dataclass(frozen=True)
class Judged:
    """A trial on held-out rows.

    Attributes:
        name: of the trial.
        clean, noise, attack: accuracy on clean rows, its mean over those with typing errors, and its mean over the
            attacks.
        score: 0.5 clean + 0.25 noise + 0.25 attack.
    """

    name: str
    clean: float
    noise: float
    attack: float

    @property
    def score(self) -> float:
        return trial_score({"clean": self.clean, "noise": self.noise, "attack": self.attack}, MIX)


def judge(run: Run, name: str, attacks: Sequence[str]) -> Judged:
    """The figures of a trial that was evaluated and attacked.

    Args:
        attacks: names of the attacks.

    Raises:
        RunError: the run was evaluated on data that is reported, or lacks a set or an attack.
    """
    accuracies = mean_accuracies(run, ("clean", "noise"))
    found = {header["recipe"]: results for header, results in run.attacks.values() if header["finished"]}
    if missing := [attack for attack in attacks if attack not in found]:
        raise RunError(f"{run} was not attacked with {missing[0]}: remove {run} and give the same command again")
    under = statistics.fmean(summary(found[attack])["accuracy_under_attack"] for attack in attacks)
    return Judged(name, accuracies["clean"], accuracies["noise"], under)


def is_taken(new: Judged, best: Judged, plain: Judged, options: HardenOptions) -> bool:
    """Whether a step is taken: it gains enough on the best so far, and costs no more clean accuracy than it may.

    score(new) >= score(best) + min_gain  and  clean(new) >= clean(plain) - max_clean_drop
    """
    tiny = 1e-9  # a share of rows is no exact sum
    gains = new.score >= best.score + options.min_gain - tiny and new.score > best.score + tiny
    return gains and new.clean >= plain.clean - options.max_clean_drop - tiny


def best_candidate(judged: Sequence[Judged], options: HardenOptions) -> Judged:
    """The augmentation with the best score, the first of equals; the first, which is none, where no other is taken."""
    plain = judged[0]
    taken = [one for one in judged[1:] if is_taken(one, plain, plain, options)]
    return max(taken, key=lambda one: one.score, default=plain)


def why(new: Judged, best: Judged, plain: Judged, options: HardenOptions) -> str:
    """What decided on a step, in words."""
    gain, drop = 100 * (new.score - best.score), 100 * (plain.clean - new.clean)
    said = f"{fixed(gain, 1, '+')} points of score over {best.name}"
    if is_taken(new, best, plain, options):
        return said
    if drop > 100 * options.max_clean_drop + 1e-7:
        return f"{said}, {'but' if gain > 0 else 'and'} clean accuracy falls by {fixed(drop, 1)} points"
    return f"{said}, " + ("no gain" if gain <= 1e-7 else f"which is less than {100 * options.min_gain:g}")
