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
    attack_class: str | None = field(
        default=None, metadata=about("attack only rows of this label, such as harmful (default: all)", "LABEL")
    )
    target_class: str | None = field(
        default=None, metadata=about("the label to be reached (default: any but the right one)", "LABEL")
    )
    words: str | None = field(
        default=None,
        metadata=about(
            "a word a line, for benign_append and benign_prepend (default: words that speak for the class aimed at, "
            "from the training texts)",
            "FILE",
        ),
    )
    added_words: int = field(default=5, metadata=about("largest number of words they add (default: 5)", "N"))
    noises: tuple[str, ...] | None = field(
        default=None,
        metadata=about(
            "what disguises uses: some of homoglyphs, invisible_characters, spaced_letters, leetspeak, "
            "repeated_letters (default: these five), typing, ocr, upper_case, lower_case, random_case",
            "A,B",
        ),
    )
    max_share: float | None = field(
        default=None,
        metadata=about("largest share of words changed (or added, of the text's own), such as 0.3", "X"),
    )
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
        for name in ("examples", "budget", "batch_size", "added_words"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RunError(f"--{name} must be at least 1, not {value}")
        if self.attack_class is not None and self.attack_class == self.target_class:
            raise RunError(f"--attack_class and --target_class are both {self.attack_class}: give two labels")
        for name in self.attack:
            self._check(name)
        self._check_material()
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
            if self.target_class is not None:
                raise RunError(f"{name} takes no --target_class: TextAttack's recipes look for any wrong label")
        elif name not in RECIPES:
            near = get_close_matches(name, RECIPES, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"give some of {', '.join(RECIPES)}, or {TEXTATTACK}NAME"
            raise RunError(f"no attack is called {name!r}: {remedy}")
        elif name in NEEDS_SYNONYMS and self.synonyms is None:
            raise RunError(
                f"{name} replaces words by synonyms: give --synonyms with a JSON file such as "
                '{"film": ["movie", "picture"]}, or --synonyms wordnet'
            )

    def _check_material(self) -> None:
        """What only some attacks take, and a file of words."""
        from rosetune.robustness.attacks.additions import read_words
        from rosetune.robustness.attacks.recipes import ADDED_WORDS, ADDS_WORDS
        from rosetune.robustness.attacks.transformations import Disguises

        for option, unset, takers in (
            ("words", None, ADDS_WORDS),
            ("added_words", ADDED_WORDS, ADDS_WORDS),
            ("noises", None, {"disguises"}),
        ):
            if getattr(self, option) != unset and not takers & {*self.attack}:
                raise RunError(f"--{option} is for {' and '.join(sorted(takers))}, which --attack does not name")
        try:
            if self.noises is not None:
                object.__setattr__(self, "noises", tuple(self.noises))
                Disguises(self.noises)
            if self.words is not None:
                read_words(self.words)
        except ValueError as error:
            raise RunError(str(error)) from error
