"""Which sets a gate looks at, what each is compared with, and what makes one that is missing."""

from collections.abc import Sequence

from rosetune.data.tasks import find_task
from rosetune.robustness.attacks.recipes import RECIPES
from rosetune.robustness.noise_families import NOISES
from rosetune.runs.attack_command import attack_commands
from rosetune.runs.gate_limits import Limits
from rosetune.runs.run import Run
from rosetune.runs.sets import KINDS, SetName
from rosetune.runs.titles import titles_of
from rosetune.runs.values import RunError

__all__ = ["absent", "check_rows", "of_kind", "perturbed", "reference", "selected", "to_make"]

_OF_ATTACKS = ("min_accuracy_under_attack", "max_success_rate")


def check_rows(run: Run) -> None:
    """See that each set of the run's metrics still has its rows, as many of them labelled as were counted.

    Raises:
        RunError: a set that lost rows, and what predicts it again.
    """
    there = {*run.sets()}
    for name, figures in run.metrics["sets"].items():
        path = run.folder / "predictions" / f"{name}.jsonl"
        if name not in there or (path.is_file() and not path.stat().st_size):
            state = "is empty" if name in there else "is gone"
            raise RunError(
                f"{run}: metrics.json lists {SetName.parse(name).title}, but {path} {state}: "
                f"{'remove it, then ' if name in there else ''}{to_make(name, run)}"
            )
        labelled = sum(row["gold"] is not None for row in run.rows(name))
        if labelled != figures.get("n", labelled):
            held = path if path.is_file() else run.folder / "predictions.jsonl"
            raise RunError(
                f"{run}: metrics.json counts {figures['n']} labelled rows of {SetName.parse(name).title}, but {held} "
                f"holds {labelled}: remove it, then {to_make(name, run)}"
            )


def of_kind(names: Sequence[str], kind: str) -> list[str]:
    """Those of one kind."""
    return [name for name in names if SetName.parse(name).kind == kind]


def perturbed(names: Sequence[str]) -> list[str]:
    """Those that are neither clean nor attacks."""
    return [name for name in names if SetName.parse(name).kind not in ("attack", "clean")]


def selected(run: Run, limits: Limits, *, other: Run | None = None) -> list[str]:
    """The robust sets and attacks that are looked at, in the order of a table.

    Args:
        other: the run that this one is compared with; with it attacks count without a limit of their own.

    Raises:
        RunError: a named set is not there, or an attack that would be looked at is not finished.
    """
    there = [name for name in run.sets() if not SetName.parse(name).is_original]
    if limits.sets is None:
        found = [name for name in there if SetName.parse(name).robust]
    else:
        found, begun = [], {word for name in run.attacks for word in _words_for(run, SetName.of_attack(name).name)}
        for word in limits.sets:
            of_word = [name for name in there if word in _words_for(run, name)]
            if not of_word and word not in begun:
                raise RunError(f"{run} was not evaluated on {word}: {to_make(word, run, other)}")
            found += of_word
    counts = other is not None or bool({*limits.given()} & {*_OF_ATTACKS})
    for attack, (header, results) in run.attacks.items() if counts else ():
        asked = limits.sets is None or {*_words_for(run, SetName.of_attack(attack).name)} & {*limits.sets}
        if asked and not header["finished"]:
            name = SetName.of_attack(attack).name
            title = titles_of([run], [name])[name].removeprefix("under ")
            raise RunError(
                f"{run}: the attack {title} is not finished ({len(results)} of {header.get('rows', '?')} rows): "
                "give its command again, which goes on, or name the sets to look at with --sets"
            )
    return sorted({*found}, key=lambda name: SetName.parse(name).sort_key)


def _words_for(run: Run, name: str) -> tuple[str | None, ...]:
    """All that stands for a set in --sets: name, kind, a file's title, a noise of the curve, an attack by recipe."""
    parsed = SetName.parse(name)
    header, _ = run.attacks.get(parsed.attack or "", ({}, []))
    noise = parsed.noise if parsed.on_curve else None
    return (
        name,
        parsed.kind,
        parsed.title if parsed.kind == "file" else None,
        noise,
        parsed.attack,
        header.get("recipe"),
    )


def _attacks_for(run: Run, word: str) -> list[str]:
    """The finished attacks on a run that a word of --sets stands for."""
    finished = [name for name, (header, _) in run.attacks.items() if header["finished"]]
    return [name for name in finished if word in _words_for(run, SetName.of_attack(name).name)]


def reference(run: Run, name: str) -> str | None:
    """The set with the unperturbed texts of another, under the same ids; None where there is none."""
    parsed = SetName.parse(name)
    if parsed.kind in ("noise", "noise_curve"):
        return "clean"
    return parsed.originals if parsed.kind == "advglue" and parsed.originals in run.sets() else None


def to_make(word: str, run: Run, other: Run | None = None) -> str:
    """What makes a set that is missing.

    Args:
        other: a run that may have it; an attack is then asked for as it was made on that one.
    """
    if other is not None and (alike := _attacks_for(other, word)):
        return f"{' and '.join(f'`{command}`' for command in attack_commands(run.folder, other, alike))} makes it"
    parsed, task = SetName.parse(word), find_task(run.task)
    if parsed.kind == "advglue" and not (task is not None and task.advglue):
        return f"AdvGLUE has no data for the task {run.task}"
    if word in KINDS or parsed.kind in ("clean", "advglue") or (parsed.kind == "noise" and parsed.noise):
        return f"`rosetune evaluate {run} --sets {word if word in KINDS else parsed.kind}` makes it"
    noise = parsed.noise if parsed.on_curve else word
    if noise in NOISES:
        return f"`rosetune evaluate {run} --sets noise_curve --noises {noise}` makes it"
    if parsed.kind == "file":
        return f"`rosetune evaluate {run} --test_file FILE` makes it"
    attack = "deepwordbug" if word == "attack" else (parsed.attack or word).partition("-")[0]
    if attack in RECIPES:
        return f"`rosetune attack {run} --attack {attack}` makes it"
    there = dict.fromkeys(_shortest(run, name) for name in run.sets())
    return f"choose among {', '.join(there) or 'nothing'}"


def _shortest(run: Run, name: str) -> str:
    """What a person calls a set in --sets: an attack by its recipe, a file by its name."""
    parsed = SetName.parse(name)
    header, _ = run.attacks.get(parsed.attack or "", ({}, []))
    return str(header.get("recipe") or parsed.attack or (parsed.title if parsed.kind == "file" else name))


def absent(run: Run, limit: str, *, chosen: bool = False, other: Run | None = None) -> RunError:
    """What to say where a limit finds nothing to look at.

    Args:
        other: the run that this one is compared with.
        chosen: whether the sets to look at were named, so that the run may have others.
    """
    others = selected(run, Limits()) if chosen else []
    others = [name for name in others if (SetName.parse(name).kind == "attack") == (limit in _OF_ATTACKS)]
    if others:
        kind = "attacks" if limit in _OF_ATTACKS else "robust sets"
        left = f"of which --sets names none: name {' or '.join(others)} there, or leave --sets out"
        return RunError(f"{limit} looks at {kind}, {left}")
    if limit in _OF_ATTACKS:
        what, remedy = "finished attacks", to_make("attack", run, other).replace(" makes it", " makes one")
    elif limit == "min_accuracy":
        what, remedy = "the clean set", f"`rosetune evaluate {run} --sets clean` makes it"
    elif limit == "min_group_accuracy":
        what = "groups of rows"
        remedy = f"`rosetune evaluate {run} --group_column COLUMN` measures them"
    elif limit in ("min_recall", "max_false_positive_rate"):
        what = "the recall of one label at a threshold"
        ask = "" if len(run.labels) == 2 else " --positive_label LABEL"
        remedy = f"`rosetune evaluate {run}{ask}` measures it"
    else:
        what, remedy = "robust sets", f"`rosetune evaluate {run} --sets noise` makes some"
    return RunError(f"{limit} looks at {what}, which {run} lacks: {remedy}")
