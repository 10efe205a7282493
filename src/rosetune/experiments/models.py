"""Loading a model and its tokenizer for a task, and keeping them."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from rosetune._files import replacing
from rosetune.runs.values import RunError

__all__ = ["load_classifier", "load_tokenizer", "load_trained", "quiet_libraries", "save_trained", "trained_labels"]


def load_tokenizer(name: str, max_length: int | None = None) -> Any:
    """The tokenizer of a hub id, a folder, or "demo"; one without a padding token pads with its end token.

    Args:
        max_length: tokens of a text; fewer where the tokenizer or the model's position embeddings allow fewer.
    """
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = _load(AutoTokenizer, name)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if max_length is not None:
        config = _load(AutoConfig, name).get_text_config()
        positions = getattr(config, "max_position_embeddings", None) or max_length
        tokenizer.model_max_length = min(max_length, tokenizer.model_max_length, positions)
    return tokenizer


def load_classifier(name: str, labels: tuple[str, ...], tokenizer: Any) -> Any:
    """A sequence classifier over these labels; its head is new where the checkpoint has none of that size.

    Raises:
        RunError: the model cannot be loaded, or the checkpoint lacks most of its weights.
    """
    from transformers import AutoModelForSequenceClassification

    model, info = _load(
        AutoModelForSequenceClassification,
        name,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    own = {key for key in model.state_dict() if key.startswith(f"{model.base_model_prefix}.")}
    fresh = own & {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    if 2 * len(fresh) > len(own):
        raise RunError(
            f"{name!r} holds {len(own) - len(fresh)} of the {len(own)} weights of a {type(model).__name__} without "
            "its head; the rest would be random: give a checkpoint of that architecture"
        )
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model


def load_trained(run: str | os.PathLike[str]) -> tuple[Any, Any, tuple[str, ...]]:
    """Model, tokenizer and label names of a run's folder, or of any folder with a saved classifier.

    The model is on the GPU where there is one.

    Raises:
        RunError: there is no model in the folder.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = _trained_folder(run)
    model = _load(AutoModelForSequenceClassification, folder)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model, _load(AutoTokenizer, folder), trained_labels(run)


def trained_labels(run: str | os.PathLike[str]) -> tuple[str, ...]:
    """The label names of a run's model, in the order of its logits.

    Raises:
        RunError: there is no model in the folder.
    """
    from transformers import AutoConfig

    config = _load(AutoConfig, _trained_folder(run))
    return tuple(config.id2label[i] for i in range(config.num_labels))


def save_trained(model: Any, tokenizer: Any, folder: Path) -> None:
    """``save_pretrained`` of both, whole or not at all."""
    with replacing(folder) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)


def quiet_libraries() -> None:
    """No progress bars for what takes a second (loading, saving, mapping); the Trainer's own stays."""
    import datasets
    from transformers.utils import logging

    logging.disable_progress_bar()
    datasets.disable_progress_bars()


def _trained_folder(run: str | os.PathLike[str]) -> str:
    folder = Path(run)
    folder = folder / "model" if (folder / "model").is_dir() else folder
    if not (folder / "config.json").is_file():
        raise RunError(f"{run} holds no trained model (no model/config.json): give the folder of a finished run")
    return str(folder.absolute())


def _load(auto: Any, name: str, **kwargs: Any) -> Any:
    from safetensors import SafetensorError
    from transformers.utils import logging

    source = _source(name)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # a new head is what is wanted here, not worth a warning
    try:
        return auto.from_pretrained(source, local_files_only=not _ask_hub(source), **kwargs)
    except (OSError, ValueError, SafetensorError) as error:
        first_line = (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".:")
        raise RunError(
            f"cannot load {name!r}: {first_line}. Give a hub id that can be reached or is in the cache, a folder with "
            "a saved model, or `demo` for the embedded MiniLM."
        ) from error
    finally:
        logging.set_verbosity(verbosity)


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
