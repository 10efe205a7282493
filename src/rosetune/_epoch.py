"""The epoch, told to data that draws anew in each."""

from typing import Any

from transformers import TrainerCallback


class EpochOfData(TrainerCallback):
    """Calls ``set_epoch`` of the training data, which otherwise may miss it.

    accelerate's loader tells either the sampler or the data: where batches are skipped after a resume, or shared out
    over processes, a sampler that has epochs of its own keeps them from the data.
    """

    def on_epoch_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        """Before the first batch of it is fetched; a resumed epoch has begun, so that its number is a fraction."""
        dataset: Any = getattr(train_dataloader, "dataset", None)
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(int((state.epoch or 0.0) + 1e-6))
