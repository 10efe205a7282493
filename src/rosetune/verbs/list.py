"""List tasks, methods, attacks or recipes."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("what", choices=("tasks", "methods", "attacks", "recipes"))
    parser.add_argument(
        "name",
        nargs="?",
        help="one method, with its options; one attack, with what it lacks; one recipe, with its sources; or recipes "
        "with this in their name",
    )


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Print what there is."""
    if known.what == "recipes":
        from rosetune.recipes import recipe_names, recipe_text

        found = [name for name in recipe_names() if (known.name or "") in name]
        if known.name in found or not found:  # or a name that is not there, which recipe_text answers
            print(recipe_text(known.name), end="")
        else:
            print("\n".join(found))
        return
    from rosetune.report.listing import attacks_text, methods_text, tasks_text

    if known.what == "tasks":
        print(tasks_text())
    else:
        print((methods_text if known.what == "methods" else attacks_text)(known.name))
