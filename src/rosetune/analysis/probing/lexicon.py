"""The words of the probe's sentences, in two halves that share nothing but function words."""

from dataclasses import dataclass

__all__ = ["DETERMINERS", "INSIDE", "JOINERS", "OUTSIDE", "Lexicon"]


@dataclass(frozen=True)
class Lexicon:
    """Content words of one half.

    Attributes:
        control: adjectives and verbs whose subject is also that of the infinitive ("eager", "hoped").
        raising: those that say nothing of their subject ("likely", "seemed"); as many of each sort.
        people: who can want something.
        actions: infinitives with a kind of object.
        events: verbs in the past, for clauses beside the sentence.
    """

    control: tuple[tuple[str, ...], tuple[str, ...]]
    raising: tuple[tuple[str, ...], tuple[str, ...]]
    people: tuple[str, ...]
    actions: tuple[tuple[str, tuple[str, ...]], ...]
    events: tuple[str, ...]


DETERMINERS = ("this", "that", "some", "one", "every", "each", "another")
JOINERS = ("after", "before", "while", "because", "although", "since")

INSIDE = Lexicon(
    control=(("eager", "reluctant", "willing", "afraid"), ("tried", "hoped", "refused")),
    raising=(("likely", "bound", "certain", "apt"), ("seemed", "happened", "tended")),
    people=("nurse", "painter", "farmer", "waiter", "teacher", "lawyer", "girl", "dancer", "driver", "guard"),
    actions=(
        ("clean", ("kitchen", "window", "garage", "carpet")),
        ("repair", ("bicycle", "roof", "engine", "clock")),
        ("visit", ("museum", "island", "village", "castle")),
        ("buy", ("lamp", "jacket", "horse", "guitar")),
        ("describe", ("picture", "accident", "journey", "recipe")),
    ),
    events=("left", "arrived", "laughed", "slept", "complained", "waved"),
)
OUTSIDE = Lexicon(
    control=(("anxious", "keen", "determined", "hesitant"), ("promised", "decided", "agreed")),
    raising=(("sure", "liable", "destined", "unlikely"), ("appeared", "chanced", "used")),
    people=("doctor", "singer", "baker", "soldier", "pilot", "writer", "boy", "actor", "judge", "sailor"),
    actions=(
        ("sell", ("piano", "boat", "watch", "painting")),
        ("follow", ("river", "path", "parade", "signal")),
        ("praise", ("novel", "dinner", "speech", "film")),
        ("hide", ("letter", "ring", "key", "coin")),
        ("carry", ("suitcase", "basket", "ladder", "candle")),
    ),
    events=("returned", "shouted", "smiled", "wept", "argued", "nodded"),
)
