"""How training rows are attacked, so that a model can be trained on what fooled another."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosetune.data.synonyms import WORDNET
from rosetune.experiments.attack_options import BUDGET, TEXTATTACK, AttackOptions
from rosetune.runs.identity import file_hash, identity_hash
from rosetune.runs.values import RunError, about, guess, names, number

__all__ = ["AdversarialOptions"]


@dataclass(frozen=True)
class AdversarialOptions:
    """How training rows are attacked. Each field says in ``metadata`` what it is.

    Raises:
        RunError: an unknown attack, one that needs synonyms, or a value out of its range.
    """

    attack: tuple[str, ...] = field(
        default=("deepwordbug",),
        metadata=about("attacks by name, see `rosetune attack --help` (default: deepwordbug)", "A,B"),
    )
    max_share: float = field(
        default=0.2,
        metadata=about(
            "largest share of a text's words that an attack may change, beyond which its label is no longer sure "
            "(default: 0.2)",
            "X",
        ),
    )
    attack_share: float = field(
        default=0.25,
        metadata=about("share of the training rows (of --attack_class) that a round attacks (default: 0.25)", "X"),
    )
    max_attacked: int = field(
        default=1000, metadata=about("most training rows that a round attacks (default: 1000)", "N")
    )
    budget: int = field(
        default=BUDGET,
        metadata=about(f"most texts that an attack asks the model about for a row (default: {BUDGET})", "N"),
    )
    synonyms: str | None = field(
        default=None, metadata=about("of attacks that need some: a JSON file, or wordnet", "FILE")
    )
    attack_class: str | None = field(
        default=None, metadata=about("attack only rows of this label, such as harmful (default: all)", "LABEL")
    )
    attack_seed: int = field(
        default=0, metadata=about("of the rows that are attacked, and of attacks (default: 0)", "N")
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "attack", names("attack", self.attack) or ())
        if self.attack_class is not None:  # YAML reads 1 as a number
            object.__setattr__(self, "attack_class", str(self.attack_class))
        for name, least in (("max_attacked", 1), ("budget", 1), ("attack_seed", 0)):
            object.__setattr__(self, name, int(number(f"--{name}", getattr(self, name), whole=True, least=least)))
        for name in ("max_share", "attack_share"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 < value <= 1:
                raise RunError(f"--{name} must lie in (0, 1], not {value!r}")
        for attack in self.attack:
            if attack.startswith(TEXTATTACK):
                raise RunError(
                    f"{attack} cannot be held to a share of changed words: give an attack of rosetune's own"
                )
        object.__setattr__(self, "attack", self.attacks(1).attack)

    def attacks(self, examples: int) -> AttackOptions:
        """The attacks, on so many rows of a set; the same wherever a model is attacked."""
        return AttackOptions(
            attack=self.attack,
            examples=examples,
            budget=self.budget,
            seed=self.attack_seed,
            max_share=self.max_share,
            synonyms=self.synonyms,
            attack_class=self.attack_class,
        )

    def attacked_label(self, labels: Sequence[str]) -> int | None:
        """The index of the label whose rows alone are attacked; None: of any.

        Args:
            labels: of the task, in the order of the logits.

        Raises:
            RunError: there is no such label.
        """
        if self.attack_class is None:
            return None
        if self.attack_class not in labels:
            raise RunError(
                f"there is no label {self.attack_class!r} for --attack_class: {guess(self.attack_class, labels)}"
            )
        return labels.index(self.attack_class)

    def as_identity(self) -> dict[str, Any]:
        """All options that tell two such attacks apart; what came later stands there where it is given."""
        later = {} if self.attack_class is None else {"attack_class": self.attack_class}
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "attack_class"} | later

    def attacked(self, texts: int) -> int:
        """How many of so many training texts, of the class that is attacked, a round attacks."""
        return min(self.max_attacked, max(1, round(self.attack_share * texts)))

    def key(self) -> str:
        """A hash of all that decides which rows are found; of a file of synonyms its content counts."""
        synonyms = self.synonyms
        if synonyms not in (None, WORDNET):
            synonyms = f"sha256:{file_hash(Path(str(synonyms)).expanduser())}"
        shares = {name: float(getattr(self, name)) for name in ("max_share", "attack_share")}
        return identity_hash({**self.as_identity(), **shares, "synonyms": synonyms})
