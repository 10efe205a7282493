"""Two thousand steps: memory that does not grow, checkpoints that stay few."""

import gc
from pathlib import Path

import pytest
from transformers import TrainerCallback

from helpers import arguments, dataset, make_model, train

STEPS, SETTLED = 2000, 500


class Resident(TrainerCallback):
    """Resident MiB at two steps."""

    def __init__(self):
        self.mib = {}

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step in (SETTLED, STEPS):
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.mib[state.global_step] = pages * 4096 / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells a process's memory there")
@pytest.mark.parametrize(
    "options", [{}, {"sketch": 4}, {"sketch": 4, "refresh": 8, "agreement": 0.8}], ids=["exact", "sketched", "economy"]
)
def test_memory_is_flat_and_checkpoints_are_bounded(tmp_path, options):
    """One sketch of each target that stayed behind in every step would be 10 MiB or more."""
    rose = {"order": "ensemble", "upper": 0.5, **options}
    resident = Resident()
    args = arguments(
        tmp_path,
        max_steps=STEPS,
        per_device_train_batch_size=2,
        logging_steps=STEPS // 4,
        save_strategy="steps",
        save_steps=STEPS // 4,
        save_total_limit=2,
        objective="r_drop",
        update_mask="rose",
        update_mask_kwargs=rose,
    )
    model = make_model(hidden_size=16, intermediate_size=32)
    train(model, args, dataset(rows=64, length=6), callbacks=[resident])
    assert resident.mib[STEPS] - resident.mib[SETTLED] < 4
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2
