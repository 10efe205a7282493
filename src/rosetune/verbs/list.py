"""List tasks, methods, attacks or recipes."""

import argparse

_WHAT = ("tasks", "methods", "attacks", "recipes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("what", metavar="WHAT", help=", ".join(_WHAT))
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="a task; a method, with its options; an attack, with what it lacks; a recipe, with its sources; or "
        "recipes with this in their name",
    )


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Print what there is."""
    from rosetune.runs.values import RunError, guess

    if known.what not in _WHAT:
        raise RunError(f"there is no list of {known.what!r}: {guess(known.what, _WHAT)}")
    if known.what == "recipes":
        from rosetune.recipes import recipe_names, recipe_text

        found = [name for name in recipe_names() if (known.name or "") in name]
        if known.name in found or not found:  # or a name that is not there, which recipe_text answers
            print(recipe_text(known.name), end="")
        else:
            print("\n".join(found))
        return
    if known.what == "methods" and known.name is not None:
        from rosetune.experiments.quick_methods import method_names

        if known.name not in (names := method_names()):
            raise RunError(f"no method is called {known.name!r}: {guess(known.name, names)}")
    from rosetune.report.listing import attacks_text, methods_text, tasks_text

    texts = {"tasks": tasks_text, "methods": methods_text, "attacks": attacks_text}
    print(texts[known.what](known.name))
