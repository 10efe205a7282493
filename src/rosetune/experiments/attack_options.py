"""What to attack runs with."""

from dataclasses import dataclass, field
from difflib import get_close_matches

from rosetune.runs.sets import KINDS, SetName
from rosetune.runs.values import RunError, about

__all__ = ["BUDGET", "EXAMPLES", "TEXTATTACK", "AttackOptions"]

EXAMPLES, BUDGET = 200, 1000
TEXTATTACK = "textattack:"


@dataclass(frozen=True)
class AttackOptions:
    """What to attack runs with. Each field says in ``metadata`` what it is.

    Of pairs the last text is attacked where ``column`` says nothing: the hypothesis of MNLI and RTE, as in the papers
    on inference, and the second text of QQP and MRPC, whose texts are alike. Of QNLI it is the sentence: a question is
    short, and one word more or less often asks something else.

    Raises:
        RunError: an unknown attack or set, a value out of range, or synonyms that are missing.
    """

    attack: tuple[str, ...] = field(metadata=about("attacks by name, or all (see below)", "A,B"))
    examples: int | None = field(default=EXAMPLES, metadata=about("rows drawn at random, or all (default: 200)", "N"))
    budget: int | None = field(
        default=BUDGET,
        metadata=about(
            "largest number of texts the model is asked about for a row, or none as in the papers (default: 1000)", "N"
        ),
    )
    seed: int = field(default=0, metadata=about("of rows and attacks (default: 0)", "N"))
    set: str = field(default="clean", metadata=about("evaluation set (default: clean)", "NAME"))
    synonyms: str | None = field(
        default=None, metadata=about('JSON file {"word": ["other", ...]}, or wordnet', "FILE")
    )
    max_share: float | None = field(default=None, metadata=about("largest share of words changed, such as 0.3", "X"))
    protected: tuple[str, ...] = field(
        default=(), metadata=about("regular expressions: words that a match touches stay as they are", "REGEX")
    )
    column: str | None = field(
        default=None, metadata=about("text column to attack, or its number from 1 (default: the last)", "NAME")
    )
    batch_size: int | None = field(
        default=None, metadata=about("texts at a time (default: 16 on the CPU, 128 elsewhere)", "N")
    )

    def __post_init__(self) -> None:
        from rosetune.robustness.attacks.recipes import RECIPES  # loads numpy, which --help can do without

        named = [name for part in self.attack for name in (RECIPES if part == "all" else (part,))]
        object.__setattr__(self, "attack", tuple(dict.fromkeys(named)))
        if not named:
            raise RunError(f"--attack names no attack: give some of {', '.join(RECIPES)}, or all")
        for name in ("examples", "budget", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RunError(f"--{name} must be at least 1, not {value}")
        for name in self.attack:
            self._check(name)
        if SetName.parse(self.set).kind not in KINDS:
            raise RunError(f"there is no evaluation set {self.set!r}: its kind must be one of {', '.join(KINDS)}")

    def _check(self, name: str) -> None:
        from rosetune.robustness.attacks.recipes import NEEDS_SYNONYMS, RECIPES

        if name.startswith(TEXTATTACK):
            from rosetune.robustness.attacks.textattack_adapter import textattack_recipes

            known = tuple(textattack_recipes())
            if name.removeprefix(TEXTATTACK) not in known:
                raise RunError(f"TextAttack has no recipe {name.removeprefix(TEXTATTACK)!r}, but {', '.join(known)}")
            if self.max_share is not None or self.protected:
                raise RunError(f"{name} brings its own constraints: leave out --max_share and --protected")
        elif name not in RECIPES:
            near = get_close_matches(name, RECIPES, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"give some of {', '.join(RECIPES)}, or {TEXTATTACK}NAME"
            raise RunError(f"no attack is called {name!r}: {remedy}")
        elif name in NEEDS_SYNONYMS and self.synonyms is None:
            raise RunError(
                f"{name} replaces words by synonyms: give --synonyms with a JSON file such as "
                '{"film": ["movie", "picture"]}, or --synonyms wordnet'
            )
