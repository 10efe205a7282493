"""What a run adds to the Trainer while it trains: its log, its bar, its clock, its checkpoints."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import ProgressCallback, TrainerCallback
from transformers.trainer_callback import ExportableState

from rosetune._files import write_json_lines
from rosetune._progress import Pace

__all__ = ["LogFile", "LogWithCheckpoint", "PlainProgress", "Progress", "StepTimer", "TimedCheckpoint", "log_lines"]

CHECKPOINT_SECONDS = 300  # as much of a training is lost to a kill, or what lies between two log lines


def log_lines(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A Trainer's history as ``log.jsonl`` keeps it: the same in every repetition of a run."""
    return list(filter(None, map(_without_times, history)))


def _without_times(entry: dict[str, Any]) -> dict[str, Any] | None:
    """A log line as it is in every repetition of the run; None for the summary of the last session."""
    if "train_runtime" in entry:
        return None
    kept = {name: value for name, value in sorted(entry.items()) if not name.endswith(("_runtime", "_per_second"))}
    return {"step": kept.pop("step"), **kept}


class LogWithCheckpoint(TrainerCallback):
    """Logs wherever a checkpoint is saved, which does not hold what was summed up since the last log line."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.logging_strategy != "no" and (control.should_save or control.should_evaluate):
            control.should_log = True

    on_epoch_end = on_step_end


class Progress(ProgressCallback):
    """The Trainer's bar on standard error, with the loss beside it; log lines go to log.jsonl alone."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.training_bar is not None and logs is not None and "loss" in logs:
            self.training_bar.set_postfix(loss=f"{logs['loss']:.4f}")

    def close(self) -> None:
        """Ends the bar's line, also where training failed."""
        for bar in (self.training_bar, self.prediction_bar):
            if bar is not None:
                bar.close()
        self.training_bar = self.prediction_bar = None


class PlainProgress(TrainerCallback):
    """Where there is no terminal for a bar: a line on standard error now and then, at most one a tenth of the way."""

    def __init__(self) -> None:
        self._loss: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._pace = Pace(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self._loss = (logs or {}).get("loss", self._loss)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        told = self._pace.told(state.global_step, state.max_steps) if state.is_world_process_zero else None
        if told is not None:
            loss = "" if self._loss is None else f", loss {self._loss:.4f}"
            print(f"step {state.global_step}/{state.max_steps}{loss}, {told}", file=sys.stderr, flush=True)


class TimedCheckpoint(TrainerCallback):
    """A checkpoint where one is worth its price: after some minutes, beside a log line, and not at the end.

    What is summed up since the last log line is in no checkpoint, so that beside one nothing is lost, and the log is
    the same whenever checkpoints were saved.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" not in (logs or {}) or state.global_step >= state.max_steps:
            return
        due = [time.perf_counter() - self._saved >= CHECKPOINT_SECONDS]
        if broadcast_object_list(due)[0]:  # as the main process has it: all of them save
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.perf_counter()


class LogFile(TrainerCallback):
    """``log.jsonl`` as it goes: after a resume it holds the checkpoint's lines, then each further one as it comes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            write_json_lines(self._path, log_lines(state.log_history))

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        line = _without_times(state.log_history[-1]) if state.log_history else None
        if state.is_world_process_zero and line is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


class StepTimer(TrainerCallback, ExportableState):
    """Seconds of each optimizer step. A checkpoint's ``trainer_state.json`` has those before it: none is lost."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self._start = self._cpu_start = 0.0

    def state(self) -> dict[str, Any]:
        """What the Trainer keeps of it."""
        return {"args": {}, "attributes": {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}}

    def resume(self, checkpoint: Path | None) -> None:
        """Begin with the steps before a checkpoint."""
        text = "{}" if checkpoint is None else (checkpoint / "trainer_state.json").read_text(encoding="utf-8")
        kept = json.loads(text).get("stateful_callbacks", {}).get(type(self).__name__, self.state())["attributes"]
        self.seconds, self.cpu_seconds = list(kept["seconds"]), list(kept.get("cpu_seconds", []))

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.stateful_callbacks.setdefault(type(self).__name__, {})  # a checkpoint of the version before has none

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start, self._cpu_start = time.perf_counter(), time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds.append(round(time.perf_counter() - self._start, 5))
        self.cpu_seconds.append(round(time.process_time() - self._cpu_start, 5))
