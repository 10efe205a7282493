"""The mean of the last checkpoints of a training."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.trainer_callback import ExportableState

from rosetune._torch import unwrap
from rosetune.averaging._contract import Averaging, refuse_adapters
from rosetune.methods._options import whole

State = dict[str, Tensor]


@dataclass(eq=False)
class CheckpointMean(Averaging, ExportableState):
    """The mean of the weights of the last checkpoints of a training.

        theta = 1/k sum_j theta_j,  j over the last k checkpoints,  k = last

    It is computed after training, in float64, and rounded to the model's own precision. What is evaluated while the
    model trains are the weights of training. Checkpoints that an earlier training left in the folder do not count;
    those that a resumed training saved before it was resumed do.

    A training saves its last step, whatever ``save_steps`` says. A run of ``rosetune train`` saves about ten times
    and, under this averaging, keeps the last k: five cover about its last half. With a Trainer, ``save_strategy``,
    ``save_steps`` and ``save_total_limit`` must leave k of them.

    Args:
        last: k, at least 2. The default is our choice.

    Raises:
        ValueError: an option outside its values, arguments under which fewer than k checkpoints remain, a checkpoint
            that is chosen (``load_best_model_at_end``), adapters of peft; after training, a checkpoint that is gone.

    Reference:
        Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018 (SWA).

    Deviates:
        SWA averages along a constant or cyclic learning rate; here the schedule is what it is, by default one that
        falls to zero. The statistics of batch normalisation are not computed again.

    Cost:
        k checkpoints on disk; the mean takes as long as reading them.
    """

    last: int = 5

    def __post_init__(self) -> None:
        self.last = whole("last", self.last, 2)
        self._saved: list[int] = []  # after how many steps this training saved

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"args": {"last": self.last}, "attributes": {"_saved": self._saved}}

    def begin(self, model: Any, args: Any, *, sharded: bool = False) -> None:
        """Refuse arguments under which there will be no mean to take."""
        super().begin(model, args, sharded=sharded)
        refuse_adapters(model, "checkpoints")
        if args.load_best_model_at_end:
            raise ValueError(
                "averaging 'checkpoints' takes the last checkpoints, load_best_model_at_end (validation_from_train) "
                "chooses one: leave one of the two out"
            )
        if str(getattr(args.save_strategy, "value", args.save_strategy)) == "no":
            raise ValueError(f"averaging 'checkpoints' needs {self.last} checkpoints: give a save_strategy")
        if args.save_total_limit is not None and args.save_total_limit < self.last:
            raise ValueError(
                f"averaging 'checkpoints' needs the last {self.last} checkpoints, save_total_limit keeps "
                f"{args.save_total_limit}: give save_total_limit={self.last}, or a smaller `last`"
            )

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse a training that saves too seldom, before it begins; find out what one that is resumed has saved.

        Raises:
            ValueError: see there.
        """
        self._saved = _saved_before(state, type(self).__name__, args.output_dir) if state.global_step else []
        state.stateful_callbacks[type(self).__name__] = self.state()  # where a checkpoint knows nothing of it
        if str(getattr(args.save_strategy, "value", args.save_strategy)) != "steps":
            return
        steps = args.save_steps if args.save_steps >= 1 else math.ceil(state.max_steps * args.save_steps)
        if math.ceil(state.max_steps / steps) < self.last:
            raise ValueError(
                f"averaging 'checkpoints' needs {self.last} of them, but a training of {state.max_steps} steps saves "
                f"{math.ceil(state.max_steps / steps)} at save_steps={steps}: give "
                f"save_steps={max(1, state.max_steps // (2 * self.last))}, or a smaller `last`"
            )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember the checkpoint."""
        self._saved = sorted({*self._saved, state.global_step})

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Put the mean into the model."""
        inner = unwrap(model)
        inner.load_state_dict(self.mean(_weights(path, inner) for path in self.chosen(args.output_dir, self._saved)))

    def chosen(self, folder: str | Path, saved: Collection[int] | None = None) -> list[Path]:
        """The checkpoints that are averaged, in the order of training.

        Args:
            saved: after how many steps a training saved; None: the folder holds the checkpoints of one training alone.

        Raises:
            ValueError: there are fewer than ``last``, or one of the last that were saved is gone.
        """
        there = _checkpoints(folder)
        wanted = sorted(there if saved is None else saved)[-self.last :]
        gone = [f"checkpoint-{step}" for step in wanted if step not in there]
        if gone:
            raise ValueError(
                f"averaging 'checkpoints' needs the last {self.last} that were saved, but {folder} lacks "
                f"{', '.join(gone)}: keep more (save_total_limit), in a folder without those of an earlier training"
            )
        if len(wanted) < self.last:
            raise ValueError(
                f"averaging 'checkpoints' needs {self.last} of them, {folder} holds {len(wanted)}: save more often "
                "(save_steps) and keep more (save_total_limit), or give a smaller `last`"
            )
        return [there[step] for step in wanted]

    def mean(self, states: Iterable[State]) -> State:
        """The mean of some state dicts of one model; what is no floating-point number is that of the last."""
        total: State = {}
        last: State = {}
        count = 0
        for last in states:
            count += 1
            for name, value in last.items():
                if value.is_floating_point():
                    total[name] = total[name].add_(value) if name in total else value.double()
        return last | {name: (total[name] / count).to(last[name].dtype) for name in total}


def _checkpoints(folder: str | Path) -> dict[int, Path]:
    found = {path.name.removeprefix("checkpoint-"): path for path in Path(folder).glob("checkpoint-*")}
    return {int(step): path for step, path in found.items() if step.isdigit()}


def _saved_before(state: Any, name: str, folder: str | Path) -> list[int]:
    """What a training saved before it was resumed; of checkpoints of an earlier version all that come before it."""
    known = state.stateful_callbacks.get(name)
    before = _checkpoints(folder) if known is None else known["attributes"]["_saved"]
    return sorted({*(step for step in before if step < state.global_step), state.global_step})


def _weights(checkpoint: Path, model: torch.nn.Module) -> State:
    """As the model names them, which is not always how a file does."""
    if isinstance(model, PreTrainedModel):
        return type(model).from_pretrained(checkpoint, config=model.config, dtype=model.dtype).state_dict()
    return _read(sorted(checkpoint.glob("*.safetensors")))


def _read(files: Sequence[Path]) -> State:
    return {name: value for file in files for name, value in load_file(file).items()}
