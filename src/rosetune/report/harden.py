"""What a hardening came to, as a person reads it on the terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from rosetune.report.console import (
    Grid,
    difference_cell,
    interval_cell,
    p_text,
    percent,
    points,
    print_grid,
)
from rosetune.report.harden_control import control_verdicts
from rosetune.report.harden_figure import Level
from rosetune.report.sweep import duration
from rosetune.robustness.attacks.summary import summary
from rosetune.robustness.statistics import Difference
from rosetune.runs.attack_command import attack_commands
from rosetune.runs.attacked import transferred, vain_rows
from rosetune.runs.compare import compare
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.titles import titles_of

__all__ = ["Hardened", "levels", "limits", "print_hardened", "step_name", "steps_grid"]

_TRIALS = ("step", "clean", "typing\nerrors", "under\nattack", "score", "rows\nadded", "steps", "seconds", "")


class Hardened:
    """A finished hardening, as its ``result.json`` tells it, with its two runs.

    Args:
        found: from :func:`~rosetune.experiments.harden.run_harden`.
    """

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.found, self.folder = found, Path(found["folder"])
        self.plain, self.hardened = (Run.open(self.folder / found[side]) for side in ("plain", "hardened"))
        self.gained = found["plain"] != found["hardened"]
        control = found.get("normalized")
        self.normalized = None if control is None else Run.open(self.folder / control)

    @cached_property
    def compared(self) -> dict[str, Difference]:
        """By set what the hardened model gains; nothing where there is none."""
        return compare([self.plain], [self.hardened]) if self.gained else {}

    @property
    def sides(self) -> dict[str, Run]:
        """Plain, behind a normalisation, hardened: those that there are."""
        hardened = self.hardened if self.gained else None
        named = {"plain": self.plain, "normalised": self.normalized, "hardened": hardened}
        return {name: run for name, run in named.items() if run is not None}

    @property
    def shown(self) -> list[str]:
        """The sets of both, but for noises at several strengths, which are a curve, and AdvGLUE's originals."""
        names = [*self.compared] if self.gained else self.plain.sets()
        parsed = [SetName.parse(name) for name in names]
        strengths = Counter(part.noise for part in parsed if part.on_curve)
        return [part.name for part in parsed if not (part.is_original or strengths[part.noise] > 1)]

    @cached_property
    def _titles(self) -> dict[str, str]:
        return titles_of(self.sides.values(), self.shown)

    def title(self, name: str) -> str:
        """A set as a person calls it, see :func:`~rosetune.runs.titles.titles_of`."""
        return self._titles[name]

    def verdicts(self) -> list[str]:
        """What helped, what did not, and what it cost, in sentences."""
        if not self.gained:
            return [
                "Nothing gained on the held-out rows: the plain model is as good as all that was tried, and costs "
                "less. It is kept.",
                *self._vain(),
                *self._control(),
            ]
        by_verdict: dict[int, list[str]] = {1: [], -1: [], 0: []}
        for name in self.shown:
            d = self.compared[name]
            by_verdict[d.verdict].append(f"{self.title(name)} ({points(d.value)} points)")
        said = [
            f"The hardened model is {what}: {', '.join(by_verdict[verdict])}."
            for verdict, what in ((1, "better"), (-1, "worse"), (0, "not shown to be better or worse"))
            if by_verdict[verdict]
        ]
        if not by_verdict[1]:
            said.append(
                f"The choice was made on held-out rows, and stands: {self.hardened.folder}. On the evaluation data it "
                f"is not shown to gain; the plain model, in {self.plain.folder}, costs less."
            )
        return said + self._fooled() + self._vain() + self._control()

    def _vain(self) -> list[str]:
        """Rows that withstood for want of words or queries."""
        return [
            f"{side.capitalize()} model, {self.title(name)}: {found}, which says nothing of it."
            for side, run in self.sides.items()
            for name in self.shown
            if name in run.sets() and SetName.parse(name).attack is not None and (found := vain_rows(run, name))
        ]

    def _control(self) -> list[str]:
        if self.normalized is None:
            return []
        return control_verdicts(self.plain, self.normalized, self.sides.get("hardened"), self.shown, self.title)

    def _fooled(self) -> list[str]:
        """What the examples found on one of both do to the other."""
        said = []
        for name in (name for name in self.shown if SetName.parse(name).attack is not None):
            cell = transferred(self.plain, self.hardened, name)
            if cell is not None and cell.fooled is not None:
                share, n = percent(cell.fooled.value), cell.fooled.n
                said.append(
                    f"Of {n} texts with which {self.title(name)[6:]} fools the plain model {share}% fool it too."
                )
        return said

    def choices(self) -> list[str]:
        """What was taken on the held-out rows, and why there was no more."""
        trials = [trial for trial in self.found["trials"] if trial["why"]]
        said = [f"{step_name(t['name'])}: {'taken' if t['taken'] else 'not taken'}, {t['why']}." for t in trials]
        chosen = self.found["chosen"]
        what = f"{step_name(chosen['augmentation'])}, {chosen['rows']} adversarial rows"
        if chosen["alpha"] is not None:
            what += f", and weights at {chosen['alpha']:g} of the way from the pre-trained ones"
        return [*said, f"The rounds ended: {self.found['stopped']}. What is kept has {what}."]

    def cost(self) -> str:
        """Of the training that is kept, and of all that was done to find it."""
        sides = {name: run for name, run in self.sides.items() if run is not self.normalized}
        kept = [f"the {side} model {_steps(run)}" for side, run in sides.items()]
        chosen = self.found["chosen"]
        trained = [*sides.values()] if chosen["rows"] or chosen["augmentation"] != "none" else [self.plain]
        seconds = [run.timing.get("training_seconds") or 0.0 for run in trained]
        seconds += [trial["seconds"] for trial in self.found["trials"] if trial["seconds"]]  # averaging trains nothing
        queries = sum(part["queries"] for part in (*self.found["trials"], *self.found["rounds"]))
        queries += sum(r["queries"] for run in self.sides.values() for _, part in run.attacks.values() for r in part)
        return (
            f"Cost: {', '.join(kept)}. To find out, {len(seconds)} trainings took {sum(seconds):.0f} s in all, and "
            f"attacks asked the models about {queries:,} texts."
        )

    def unshown(self) -> list[str]:
        """Where to look for what the tables leave out."""
        if not any(SetName.parse(name).on_curve for name in {*self.plain.sets()} - {*self.shown}):
            return []
        verb = "compare" if self.gained else "evaluate"
        return [f"The noise curve is shown by `rosetune {verb} {' '.join(map(str, self._folders()))}`."]

    def _folders(self) -> list[Path]:
        return [run.folder for run in self.sides.values() if run is not self.normalized]

    def following(self) -> list[str]:
        """Commands to go on with; a gate needs the next run evaluated and attacked as the one that was kept."""
        control = "" if self.normalized is None else f" --controls normalize={self.normalized.folder}"
        more = [f"rosetune compare {' '.join(map(str, self._folders()))}{control}"] if self.gained else []
        kept = self.hardened.folder
        kinds = [kind for kind in ("advglue",) if kind in self.hardened.sets()]
        more += [f"rosetune evaluate NEXT_RUN --sets {kind}" for kind in kinds]
        more += attack_commands("NEXT_RUN", self.hardened)
        return [f"rosetune predict {kept} --text 'a text'", *more, f"rosetune gate NEXT_RUN --baseline {kept}"]


def print_hardened(out: Console, result: Hardened) -> None:
    """The choices on held-out rows, both models on the evaluation data, and what that says."""
    found = result.found
    grid = Grid(f"Choices on {found['held_out']} held-out training rows, accuracy in %", _TRIALS)
    for trial in found["trials"]:
        figures = (percent(trial[name]) for name in ("clean", "noise", "attack", "score"))
        cost = (str(trial["rows"] or "-"), str(trial["steps"]), f"{trial['seconds'] or 0:.0f}")
        grid.rows.append((escape(step_name(trial["name"])), *figures, *cost, "taken" if trial["taken"] else ""))
    print_grid(out, grid)
    for line in result.choices():
        out.print(Text(line))
    out.print()
    print_grid(out, _final_grid(result))
    for line in (*result.verdicts(), *result.unshown(), result.cost(), limits(result)):
        out.print(Text(line), soft_wrap="`rosetune " in line)  # a command is copied whole
    out.print(
        Text(f"\nNext: `{'`, `'.join(result.following())}`; another --seed says how much of it was luck."),
        soft_wrap=True,
    )


def _final_grid(result: Hardened) -> Grid:
    sides = {side: levels(run, result.shown) for side, run in result.sides.items()}
    first = sides["plain"]
    if not result.gained:
        columns = ("set", "n", *(f"{side} [95%]" for side in sides))
        grid = Grid("The plain model on the evaluation data, accuracy in %", columns)
        for name in result.shown:
            cells = (interval_cell(*found[name][1:]) if name in found else "-" for found in sides.values())
            grid.rows.append((escape(result.title(name)), str(first[name].n), *cells))
        return grid
    columns = ("set", "n", *sides, "gain [95%]", "p")
    caption = "" if result.normalized is None else "The gain is that of hardened over plain."
    title = (
        f"{'Both' if result.normalized is None else 'All'} models on the evaluation data, accuracy in %; paired rows"
    )
    grid = Grid(title, columns, caption=caption)
    for name in result.shown:
        d = result.compared[name]
        cells = (percent(found[name].value) if name in found else "-" for found in sides.values())
        p = "-" if d.p is None else p_text(d.p).removeprefix("= ")
        grid.rows.append((escape(result.title(name)), str(d.n), *cells, difference_cell(d), p))
    return grid


def steps_grid(folder: str, steps: Sequence[tuple[str, float]]) -> Grid:
    """What a hardening will do, and about how long it takes.

    Args:
        steps: what each is, and its seconds.
    """
    grid = Grid(f"Steps of {folder}", ("step", "about"), caption="As if every round were taken; attacks are guessed.")
    grid.rows.extend((escape(what), duration(seconds)) for what, seconds in steps)
    grid.rows.extend([None, ("all", duration(sum(seconds for _, seconds in steps)))])
    return grid


def levels(run: Run, names: Sequence[str]) -> dict[str, Level]:
    """Accuracy with its interval on those of some sets, attacks among them, that a run has."""
    found = {}
    for name in (name for name in names if name in run.sets()):
        attack = SetName.parse(name).attack
        if attack is None:
            m = run.metrics["sets"][name]
            found[name] = Level(m["n"], m["accuracy"], m["low"], m["high"])
        else:
            s = summary(run.attacks[attack][1])
            figures = (s[f"accuracy_under_attack{end}"] for end in ("", "_low", "_high"))
            found[name] = Level(s["n"], *figures)
    return found


def limits(result: Hardened) -> str:
    """What the figures hold for."""
    found = result.found
    only = "" if found.get("attack_class") is None else f", on rows of {found['attack_class']} alone,"
    return (
        f"Attacks ({', '.join(found['attacks'])}){only} change at most {100 * found['max_share']:g}% of a text's "
        "words; one training seed; nothing was chosen on the evaluation data."
    )


def step_name(name: str) -> str:
    """A trial, or an augmentation, as a person calls it."""
    return {"none": "no augmentation"}.get(name, name.replace("_", " ").replace("-", " "))


def _steps(run: Run) -> str:
    return f"{run.timing.get('steps', '?')} steps in {run.timing.get('training_seconds', 0.0):.0f} s"
