"""``python -m rosetune``, and ``accelerate launch -m rosetune`` for several GPUs."""

from rosetune.cli import main

main()
