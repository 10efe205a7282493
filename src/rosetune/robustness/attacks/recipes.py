"""Attacks as papers composed them, as far as their parts are at hand; each says what it lacks."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from inspect import signature
from typing import Any

from rosetune.robustness.attacks.additions import AddedWords
from rosetune.robustness.attacks.constraints import STOP_WORDS, Constraints
from rosetune.robustness.attacks.driver import Recipe
from rosetune.robustness.attacks.genetic import Genetic
from rosetune.robustness.attacks.searches import Beam, Greedy, RandomSearch
from rosetune.robustness.attacks.transformations import DISGUISES, CharacterEdits, Disguises, Synonyms

__all__ = [
    "ADDED_WORDS",
    "ADDS_WORDS",
    "NEEDS_SYNONYMS",
    "RECIPES",
    "benign_append",
    "benign_prepend",
    "build_recipe",
    "deepwordbug",
    "disguises",
    "genetic",
    "pwws",
    "random_edits",
    "textfooler",
]

Neighbours = Mapping[str, tuple[str, ...]]

Words = Sequence[str] | Mapping[int, Sequence[str]]

ADDED_WORDS = 5
_BUGS = ("swap", "substitute", "drop", "insert")


def deepwordbug(
    *,
    importance: str = "combined",
    keep_ends: bool = True,
    max_edits: int = 30,
    unk: str = "[UNK]",
    stop_words: bool = False,
    protected: tuple[str, ...] = (),
) -> Recipe:
    """DeepWordBug: misspell the words that matter most, until the label changes or 30 edits are spent.

    Args:
        importance: "combined" is the paper's score; TextAttack's recipe ranks by "unk".
        keep_ends: leave a word's first and last letter alone, as in all the paper's examples; the published code and
            TextAttack edit any letter.
        max_edits: largest edit distance to the original text in characters (a swap counts two).
        unk: the unknown word, for the importance "unk".
        stop_words: leave stop words alone, as TextAttack's recipe does.
        protected: see :class:`Constraints`.

    Reference:
        Gao et al., Black-box generation of adversarial text sequences to evade deep learning classifiers, 2018.

    Deviates:
        The paper applies one kind of edit, to one word after the other, and looks at the label in the end. Here, as in
        TextAttack's recipe, the best of the four kinds is taken, where it lowers the right label's probability, and
        the attack stops at the first success. No constraint of the paper is missing.
    """
    limits = Constraints(
        max_edits=max_edits, stop_words=STOP_WORDS if stop_words else frozenset(), protected=protected
    )
    edits = CharacterEdits(_BUGS, keep_ends=keep_ends)
    return Recipe("deepwordbug", Greedy(importance, unk=unk), edits, limits)


def pwws(synonyms: Neighbours, *, unk: str = "[UNK]", protected: tuple[str, ...] = ()) -> Recipe:
    """PWWS: replace words by synonyms, in the order of saliency times the effect of the best synonym.

    Args:
        synonyms: WordNet's are the paper's, RIFT evaluates with the counter-fitted neighbours.
        unk: the unknown word (RIFT's code writes "NULL").
        protected: see :class:`Constraints`.

    Reference:
        Ren et al., Generating natural language adversarial examples through probability weighted word saliency, 2019.

    Deviates:
        Missing constraint: a synonym must have the word's part of speech; there is no tagger here, so synonyms of
        another part of speech are tried too. Missing substitution: a named entity becomes one of another label's
        texts. See also :class:`Greedy`.
    """
    return Recipe("pwws", Greedy("weighted", unk=unk), Synonyms(synonyms), Constraints(protected=protected))


def genetic(
    synonyms: Neighbours,
    *,
    population: int = 60,
    iterations: int = 40,
    max_share: float | None = None,
    protected: tuple[str, ...] = (),
) -> Recipe:
    """The genetic attack, as RIFT evaluates with it: population 60, 40 iterations, counter-fitted neighbours.

    Args:
        synonyms: the neighbours, all of which are tried (RIFT's file holds up to 8, as the paper's N).
        max_share: of words changed; None as in RIFT. Alzantot et al. count an attack as failed beyond 0.2 on IMDB.
        protected: see :class:`Constraints`.

    Reference:
        Alzantot et al., Generating natural language adversarial examples, 2018; Dong et al. 2021 (RIFT).

    Deviates:
        Missing constraint: a language model that keeps the neighbours that fit their context. Alzantot et al. have it,
        and in RIFT's code it is on by default, with scores computed beforehand. The attack is stronger without, and
        its texts less fluent: accuracies under it are not comparable with RIFT's. See also :class:`Genetic`.
    """
    limits = Constraints(max_share=max_share, protected=protected, repeat=True)
    return Recipe("genetic", Genetic(population, iterations), Synonyms(synonyms), limits)


def textfooler(
    synonyms: Neighbours,
    *,
    importance: str = "delete",
    limit: int = 50,
    unk: str = "[UNK]",
    max_share: float | None = None,
    protected: tuple[str, ...] = (),
) -> Recipe:
    """TextFooler's search with neighbours from a file: NOT the paper's attack, which also checks meaning and grammar.

    Args:
        synonyms: counter-fitted neighbours, nearest first.
        importance: "delete" is the paper's; its code puts an unknown word in the word's place, "unk".
        limit: neighbours of a word that are tried, the paper's N.
        unk: the unknown word, for the importance "unk".
        max_share: of words changed; None as in the paper.
        protected: see :class:`Constraints`.

    Reference:
        Jin et al., Is BERT really robust? A strong baseline for natural language attack, 2020.

    Deviates:
        Missing constraints: the same part of speech, and the similarity of the sentences by the Universal Sentence
        Encoder, which also chooses among several successes (here the one with the lowest probability of the right
        label). The cosine of at least 0.7 between neighbours is whatever the file was made with, and a file with 8
        neighbours of a word offers 8, not 50. The attack is thus both freer and narrower than the paper's: its success
        rate is not comparable. A word is kept where it improves on the changes so far; the published code compares
        with the unchanged text.
    """
    search = Greedy(importance, unk=unk, bonus=True)
    limits = Constraints(max_share=max_share, stop_words=STOP_WORDS, protected=protected)
    return Recipe("textfooler", search, Synonyms(synonyms, limit), limits)


def random_edits(
    *,
    samples: int = 100,
    keep_ends: bool = True,
    max_edits: int = 30,
    protected: tuple[str, ...] = (),
) -> Recipe:
    """Control: DeepWordBug's edits at random words; what a search by the model's confidence gains, it gains over this.

    Args:
        samples: texts tried.
        keep_ends, max_edits, protected: as in :func:`deepwordbug`.
    """
    limits = Constraints(max_edits=max_edits, protected=protected)
    return Recipe("random", RandomSearch(samples), CharacterEdits(_BUGS, keep_ends=keep_ends), limits)


def disguises(
    *,
    noises: tuple[str, ...] = tuple(DISGUISES),
    samples: int = 1,
    max_share: float | None = None,
    protected: tuple[str, ...] = (),
) -> Recipe:
    """Disguises: look-alike letters, invisible characters, spaced letters, leetspeak, repeated letters; word by word.

    The words that matter most to the model come first, each in the disguise that misleads it most.

    Args:
        noises, samples: see :class:`~rosetune.robustness.attacks.transformations.Disguises`.
        max_share: of words changed; None: all of them, which people still read.
        protected: see :class:`Constraints`.

    Deviates:
        Of no paper. That people still read a disguised word is a rule here, the noises', which nobody was asked about.
    """
    limits = Constraints(max_share=max_share, protected=protected)
    return Recipe("disguises", Greedy("delete"), Disguises(tuple(noises), samples), limits)


def benign_append(words: Words, *, most: int = ADDED_WORDS, beam: int = 1, max_share: float | None = None) -> Recipe:
    """Benign append: harmless words behind the text, chosen by search, pull it toward another class.

    Args:
        words: candidates, such as those of :func:`~rosetune.robustness.attacks.additions.benign_words`; or by the
            index of a row's right label.
        most: words added, at most; no word twice.
        beam: texts that the search keeps, see :class:`~rosetune.robustness.attacks.searches.Beam`; 1 is greedy.
        max_share: words added, as a share of the text's own; None: no limit but ``most``.

    Reference:
        Lowd and Meek, Good word attacks on statistical spam filters, 2005.

    Deviates:
        They add lists of 10 to 1000 words at once, or learn a linear filter's best words from many queries; here the
        model's answers choose few. The text stays as it is, word for word, but nobody has judged that it still means
        what it did: harmless words do not undo spam, while "superb" behind a bad review may turn its label.
    """
    return _added("benign_append", words, "append", most, beam, max_share)


def benign_prepend(words: Words, *, most: int = ADDED_WORDS, beam: int = 1, max_share: float | None = None) -> Recipe:
    """Benign prepend: as benign append, with the words before the text; of a long text they push its end out of sight.

    Args:
        words, most, beam, max_share: as in :func:`benign_append`.
    """
    return _added("benign_prepend", words, "prepend", most, beam, max_share)


def _added(name: str, words: Words, place: str, most: int, beam: int, max_share: float | None) -> Recipe:
    by_label = {label: tuple(part) for label, part in words.items()} if isinstance(words, Mapping) else tuple(words)
    return Recipe(name, Beam(beam), AddedWords(by_label, place, most), Constraints(max_share=max_share))


RECIPES: dict[str, Callable[..., Recipe]] = {
    "deepwordbug": deepwordbug,
    "disguises": disguises,
    "benign_append": benign_append,
    "benign_prepend": benign_prepend,
    "pwws": pwws,
    "genetic": genetic,
    "textfooler": textfooler,
    "random": random_edits,
}
NEEDS_SYNONYMS = frozenset({"pwws", "genetic", "textfooler"})
ADDS_WORDS = frozenset({"benign_append", "benign_prepend"})


def build_recipe(
    name: str,
    synonyms: Neighbours | None = None,
    *,
    unk: str | None = None,
    max_share: float | None = None,
    protected: Sequence[str] = (),
    words: Words | None = None,
    added_words: int = ADDED_WORDS,
    noises: Sequence[str] | None = None,
) -> Recipe:
    """A recipe by its name, with the limits that are given; what another recipe takes is left out.

    Args:
        name: of :data:`RECIPES`.
        synonyms: for those of :data:`NEEDS_SYNONYMS`.
        unk: the model's unknown word, for recipes that put one in a word's place; None: "[UNK]".
        max_share: of words changed; None: as the recipe has it.
        protected: see :class:`Constraints`.
        words, added_words: candidates, and the largest number of them, for those of :data:`ADDS_WORDS`.
        noises: for "disguises"; None: the five that are disguises.

    Raises:
        ValueError: an unknown name, missing synonyms or words, or a limit out of range.
    """
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"give one of {', '.join(RECIPES)}"
        raise ValueError(f"no attack is called {name!r}: {remedy}")
    if name in NEEDS_SYNONYMS and synonyms is None:
        raise ValueError(
            f'{name} replaces words by synonyms: give some, such as {{"film": ("movie", "picture")}}, the path of a '
            'JSON file of them, or "wordnet"'
        )
    if name in ADDS_WORDS and words is None:
        raise ValueError(
            f"{name} adds words: give candidates (words=...), the path of a file with a word a line, or what "
            "rosetune.robustness.attacks.additions.benign_words finds in training texts"
        )
    build = RECIPES[name]
    taken = signature(build).parameters
    given: dict[str, Any] = {"unk": unk, "noises": None if noises is None else tuple(noises), "most": added_words}
    options = {option: value for option, value in given.items() if value is not None and option in taken}
    material = [synonyms] if name in NEEDS_SYNONYMS else [words] if name in ADDS_WORDS else []
    recipe = build(*material, **options)
    limits: dict[str, Any] = {"protected": tuple(protected)} if protected else {}
    limits |= {} if max_share is None else {"max_share": max_share}
    return dataclasses.replace(recipe, constraints=dataclasses.replace(recipe.constraints, **limits))
