"""What to attack runs with."""

from dataclasses import dataclass
from difflib import get_close_matches

from rosetune.experiments.config import KINDS, RunError
from rosetune.experiments.sets import kind_of
from rosetune.robustness.attacks.recipes import NEEDS_SYNONYMS, RECIPES

__all__ = ["BUDGET", "EXAMPLES", "TEXTATTACK", "AttackOptions"]

EXAMPLES, BUDGET = 200, 1000
TEXTATTACK = "textattack:"


@dataclass(frozen=True)
class AttackOptions:
    """What to attack runs with.

    Args:
        recipes: names of :data:`RECIPES`, "all" of them, or "textattack:NAME".
        examples: rows, drawn at random by seed and id. None: all of the set.
        budget: largest number of queries for a row, the unchanged text included. None: no limit, as in the papers.
        seed: of rows and attacks.
        set_name: of the evaluation set, such as "clean" or "advglue".
        synonyms: a JSON file ``{word: [...]}``, or "wordnet".
        max_share: of a text's words that may change; None: as the recipe has it.
        protected: regular expressions; a word that a match touches is never changed.
        column: text column that is attacked, by name or by number from 1; None: the last. That is the hypothesis of
            MNLI and RTE, as in the papers on inference, and the second text of QQP and MRPC, whose texts are alike.
            Of QNLI it is the sentence: a question is short, and one word more or less often asks something else.
        batch_size: texts per forward; None: 16 on the CPU, 128 elsewhere.

    Raises:
        RunError: an unknown recipe or set, a value out of range, or synonyms that are missing.
    """

    recipes: tuple[str, ...]
    examples: int | None = EXAMPLES
    budget: int | None = BUDGET
    seed: int = 0
    set_name: str = "clean"
    synonyms: str | None = None
    max_share: float | None = None
    protected: tuple[str, ...] = ()
    column: str | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        named = [name for part in self.recipes for name in (RECIPES if part == "all" else (part,))]
        object.__setattr__(self, "recipes", tuple(dict.fromkeys(named)))
        if not named:
            raise RunError(f"--recipe names no recipe: give some of {', '.join(RECIPES)}, or all")
        for name in ("examples", "budget", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RunError(f"--{name} must be at least 1, not {value}")
        for name in self.recipes:
            self._check_recipe(name)
        if kind_of(self.set_name) not in KINDS:
            raise RunError(f"there is no evaluation set {self.set_name!r}: its kind must be one of {', '.join(KINDS)}")

    def _check_recipe(self, name: str) -> None:
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
            raise RunError(f"no recipe is called {name!r}: {remedy}")
        elif name in NEEDS_SYNONYMS and self.synonyms is None:
            raise RunError(
                f"{name} replaces words by synonyms: give --synonyms with a JSON file such as "
                '{"film": ["movie", "picture"]}, or --synonyms wordnet'
            )
