"""A rank of a RobustTrainer under FSDP2, on a CPU with gloo; importable as ``fsdp_ranks``."""

import os
import signal
from datetime import timedelta

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from transformers import TrainerCallback, set_seed

from helpers import arguments, dataset, make_model
from rosetune import RobustTrainer

STEPS, SAVED = 6, 3
# The checkpoint is in the middle of what a mask is in force.
METHOD = {
    "objective": "r_drop",
    "update_mask": "rose",
    "update_mask_kwargs": {"order": "ensemble", "upper": 0.5, "sketch": 4, "refresh": 2, "trace": True},
}


class EndAfter(TrainerCallback):
    """Stops after this step, or ends the process as a machine that goes down does."""

    def __init__(self, step, killed):
        self.step, self.killed = step, killed

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            torch.distributed.barrier()
            if self.killed:
                os.kill(os.getpid(), signal.SIGKILL)
            control.should_training_stop = True


def train(folder, kind, rank, callbacks=(), resume=False):
    """Weights and masks after six steps, or None where a callback ended it."""
    fsdp = {"version": 2, "state_dict_type": f"{kind}_STATE_DICT", "transformer_layer_cls_to_wrap": ["BertLayer"]}
    saving = {"save_strategy": "steps", "save_steps": SAVED}
    args = arguments(folder, fsdp=True, fsdp_config=fsdp, max_steps=STEPS, **saving, **METHOD)
    assert args.parallel_mode.name == "DISTRIBUTED"  # which makes accelerate's state
    # accelerate shards on accelerators only, and is told that the CPU is one; the rest is its own code.
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    set_seed(rank)
    trainer = RobustTrainer(make_model(), args, train_dataset=dataset(), callbacks=list(callbacks))
    assert trainer.accelerator.is_fsdp2
    trainer.train(resume_from_checkpoint=os.path.join(folder, f"checkpoint-{SAVED}") if resume else None)
    if trainer.state.global_step < STEPS:
        return None
    weights = [p.full_tensor().detach().flatten() for p in trainer.model.parameters()]
    return {"weights": torch.cat(weights), "masks": trainer.update_mask.trace.multipliers}


def life(rank, folder, second):
    """The first life trains once to the end and twice to the fourth step, the second goes on from the third."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "0"}  # accelerate asks for them; the store is a file
    store = f"file://{folder}/store-{second}"
    torch.distributed.init_process_group("gloo", store, timedelta(minutes=5), rank=rank, world_size=2)
    found = {}
    if not second:
        found["whole"] = train(f"{folder}/whole", "SHARDED", rank)
        torch.save(found, f"{folder}/whole-{rank}.pt")
        train(f"{folder}/stopped", "FULL", rank, [EndAfter(SAVED + 1, killed=False)])
        train(f"{folder}/killed", "SHARDED", rank, [EndAfter(SAVED + 1, killed=True)])
    for name, kind in {"stopped": "FULL", "killed": "SHARDED"}.items():
        found[name] = train(f"{folder}/{name}", kind, rank, resume=True)
    torch.save(found, f"{folder}/resumed-{rank}.pt")
    torch.distributed.destroy_process_group()
