"""Words that several verbs use."""

TASKS_HELP = "a task's name (see `rosetune list tasks`), a CSV, JSON Lines or Parquet file or folder, or a hub id"
SETS_HELP = "of clean, noise, noise_curve, advglue (default: clean,noise)"
