"""The options of the axes, described once: for the Trainer's arguments and for the command line."""

__all__ = ["AXES"]

AXES = {
    "objective": "which loss is minimised (rosetune list methods)",
    "objective_kwargs": 'options of the objective, as JSON: {"alpha": 0.5}',
    "update_mask": "which updates are applied (rosetune list methods); none: all of them",
    "update_mask_kwargs": 'options of the update mask, as JSON: {"order": "first", "upper": 0.6}',
    "augmentation": "which rows are seen: noise, subword_dropout (rosetune list methods); none: those of the data",
    "augmentation_kwargs": 'options of the augmentation, as JSON: {"noises": ["typing"], "p": 0.5}',
    "averaging": "which weights are kept: ema, checkpoints, pretrained (rosetune list methods); none: the last ones",
    "averaging_kwargs": 'options of the averaging, as JSON: {"alpha": 0.5}',
}
