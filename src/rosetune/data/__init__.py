"""Data: the table of tasks and every source it can come from. See `rosetune.data.sources`."""
