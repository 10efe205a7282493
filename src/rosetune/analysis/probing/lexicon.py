"""The words of the probe's sentences, in two halves that share nothing but function words."""

from dataclasses import dataclass

__all__ = ["DETERMINERS", "INSIDE", "JOINERS", "OUTSIDE", "Lexicon"]


@dataclass(frozen=True)
class Lexicon:
    """Content words of one half.

    Attributes:
        control: those whose subject is also that of the infinitive: what follows "was" ("eager", "asked"), and verbs
            in the past ("hoped").
        raising: those that say nothing of their subject ("likely", "said", "seemed"): "there" can be it, as in "there
            was said to be a garage". Of both sorts too. English has few such verbs.
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
    control=(
        (
            *("eager", "reluctant", "willing", "afraid", "happy", "desperate", "careful", "curious", "proud"),
            *("ashamed", "inclined", "tempted", "delighted", "asked", "persuaded", "ordered", "encouraged", "invited"),
        ),
        (
            *("tried", "hoped", "refused", "managed", "planned", "wanted", "struggled", "offered", "vowed", "forgot"),
            *("dared", "learned", "rushed", "pretended"),
        ),
    ),
    raising=(
        (
            *("likely", "bound", "certain", "apt", "supposed", "going", "scheduled", "guaranteed", "set"),
            *("said", "believed", "reported", "expected", "presumed", "alleged", "thought", "predicted", "found"),
        ),
        ("seemed", "happened", "tended", "continued", "began", "failed"),
    ),
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
    control=(
        (
            *("anxious", "keen", "determined", "hesitant", "glad", "impatient", "content", "unwilling", "prepared"),
            *("relieved", "sorry", "embarrassed", "pleased", "told", "urged", "instructed", "forced", "motivated"),
        ),
        (
            *("promised", "decided", "agreed", "hesitated", "attempted", "intended", "wished", "aimed", "declined"),
            *("volunteered", "remembered", "neglected", "hurried", "begged"),
        ),
    ),
    raising=(
        (
            *("sure", "liable", "destined", "unlikely", "due", "about", "slated", "fated", "known"),
            *("seen", "heard", "observed", "assumed", "understood", "claimed", "suspected", "imagined", "shown"),
        ),
        ("appeared", "chanced", "used", "ceased", "started", "ought"),
    ),
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
