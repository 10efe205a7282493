"""What lies under a model's name (a folder, the hub or its cache, the embedded model), with errors in one line."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from rosetune.experiments.errors import first_line
from rosetune.runs.values import RunError

__all__ = ["config_of", "load", "model_options", "skeleton"]

# What follows from the data and the checkpoint.
_NOT_OPTIONS = ("num_labels", "id2label", "label2id", "problem_type", "model_type", "architectures")
# What a model's code reads from its configuration although that does not list it.
_UNLISTED = {"deberta": ("cls_dropout",), "deberta-v2": ("cls_dropout",)}


def load(auto: Any, name: str, **kwargs: Any) -> Any:
    """``auto.from_pretrained`` of a hub id, a folder, or "demo".

    Raises:
        RunError: it cannot be loaded.
    """
    from transformers.utils import logging

    source = _source(name)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # a new head is what is wanted here, not worth a warning
    try:
        return auto.from_pretrained(source, local_files_only=not _ask_hub(source), **kwargs)
    except ImportError as error:
        raise RunError(f"cannot load {name!r}: {first_line(error)}; install the package that it needs") from error
    except Exception as error:  # the files may hold anything, of which transformers makes what it can
        here = "" if Path(source).is_dir() else ", which is no folder here"
        raise RunError(
            f"cannot load {name!r}{here}: {first_line(error)}. Give a hub id that can be reached or is in the cache, "
            "a folder with a saved model, or `demo` for the embedded MiniLM."
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def config_of(name: str) -> Any:
    """A model's configuration.

    Raises:
        RunError: it cannot be loaded.
    """
    from transformers import AutoConfig

    return load(AutoConfig, name)


def skeleton(name: str) -> Any:
    """The sequence classifier of a model's configuration, without weights.

    Raises:
        RunError: it cannot be loaded, or its architecture classifies no texts.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    config = config_of(name)
    try:
        with torch.device("meta"):
            return AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        raise RunError(
            f"{name!r} is a {config.model_type} model, of which transformers makes no classifier of texts: "
            "give a model of another architecture"
        ) from error


def model_options(name: str, config: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options for a model's configuration, if it knows them all.

    Raises:
        RunError: one that it does not know, or that follows from the data.
    """
    fields = config.to_dict()
    known = sorted({*fields, *config.attribute_map, *_UNLISTED.get(config.model_type, ())} - {*_NOT_OPTIONS})
    for option in given:
        if option in _NOT_OPTIONS:
            raise RunError(f"model_kwargs cannot set {option!r}, which follows from the data and the checkpoint")
        if option not in known:
            near = get_close_matches(option, known, n=1, cutoff=0.6)
            dropouts = [field for field in known if "drop" in field]
            remedy = f"; did you mean {near[0]}?" if near else ""
            listed = f" Its dropouts are {', '.join(dropouts)}." if "drop" in option and dropouts else ""
            raise RunError(
                f"model_kwargs: the configuration of {name!r} ({config.model_type}) has no {option!r}{remedy}{listed}"
            )
    return {option: _as_before(value, fields.get(option)) for option, value in given.items()}


def _as_before(value: Any, before: Any) -> Any:
    """0 as 0.0 where the field holds a float: a configuration written in YAML or JSON may say either."""
    return float(value) if isinstance(before, float) and type(value) is int else value


def _source(name: str) -> str:
    from rosetune.data.embedded import embedded_model_path

    if name == "demo":
        return embedded_model_path()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(
            folder if (folder / "config.json").is_file() or not (folder / "model").is_dir() else folder / "model"
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise RunError(f"there is no folder {name}: give a folder with a saved model, or a hub id such as user/model")
    return name


@cache
def _ask_hub(source: str) -> bool:
    """Whether the hub answers for this id. Without a network from_pretrained retries for 20 seconds a file."""
    from huggingface_hub import HfApi, is_offline_mode
    from huggingface_hub.errors import HfHubHTTPError

    if Path(source).is_dir() or is_offline_mode():
        return False
    try:
        HfApi().model_info(source, timeout=5)
    except HfHubHTTPError:
        return True  # it answers; from_pretrained says what is wrong
    except Exception:
        return False
    return True
