"""The verbs of the command line, a file each: what it does, ``add_arguments`` and ``run``."""
