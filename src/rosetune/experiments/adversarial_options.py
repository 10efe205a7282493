"""How training rows are attacked, so that a model can be trained on what fooled another."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from rosetune.data.synonyms import WORDNET
from rosetune.experiments.attack_options import BUDGET, TEXTATTACK, AttackOptions
from rosetune.runs.identity import file_hash, identity_hash
from rosetune.runs.values import RunError, about, names, number

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
        default=0.25, metadata=about("share of the training rows that a round attacks (default: 0.25)", "X")
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
    attack_seed: int = field(
        default=0, metadata=about("of the rows that are attacked, and of attacks (default: 0)", "N")
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "attack", names("attack", self.attack) or ())
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
        )

    def attacked(self, texts: int) -> int:
        """How many of so many training texts a round attacks."""
        return min(self.max_attacked, max(1, round(self.attack_share * texts)))

    def key(self) -> str:
        """A hash of all that decides which rows are found; of a file of synonyms its content counts."""
        synonyms = self.synonyms
        if synonyms not in (None, WORDNET):
            synonyms = f"sha256:{file_hash(Path(str(synonyms)).expanduser())}"
        shares = {name: float(getattr(self, name)) for name in ("max_share", "attack_share")}
        return identity_hash({**dataclasses.asdict(self), **shares, "synonyms": synonyms})
