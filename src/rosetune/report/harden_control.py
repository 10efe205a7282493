"""What a normalisation without training does beside a hardening, in sentences."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from rosetune.report.console import points
from rosetune.robustness.statistics import Difference
from rosetune.runs.compare import compare
from rosetune.runs.run import Run

__all__ = ["control_verdicts"]

Title = Callable[[str], str]


def control_verdicts(
    plain: Run, normalized: Run, hardened: Run | None, names: Sequence[str], title: Title
) -> list[str]:
    """What the plain model behind a normalisation gains on some sets, and where it beats the hardened one.

    Args:
        plain, normalized: the same weights, without and with it.
        hardened: None where there is none.
        names: of the sets.
        title: of a set, as a person calls it.
    """
    found = compare([plain], [normalized])
    gains, losses = (_listed(found, names, verdict, title) for verdict in (1, -1))
    if not gains:
        worse = f", and is worse: {losses}" if losses else ""
        return [f"Behind a normalisation (--normalize all, no training) the plain model gains nothing{worse}."]
    said = [f"Behind a normalisation (--normalize all, no training) the plain model is better: {gains}."]
    if losses:
        said.append(f"It is worse: {losses}.")
    kept = plain
    if hardened is not None:
        kept = hardened
        beats = _listed(compare([hardened], [normalized]), names, 1, title)
        if beats:
            said.append(f"It is better than the hardened model: {beats}.")
        else:
            said.append("It is not shown to be better than the hardened model on any set.")
    said.append(
        "A normalisation goes with any training: put the model that is kept behind it with `rosetune evaluate "
        f"--model_name_or_path {kept.folder} --task {plain.config.task} --normalize all`, and look at both."
    )
    return said


def _listed(found: Mapping[str, Difference], names: Iterable[str], verdict: int, title: Title) -> str:
    there = [name for name in names if name in found and found[name].verdict == verdict]
    return ", ".join(f"{title(name)} ({points(found[name].value)} points)" for name in there)
