"""What a user can act on is one line and exit code 2; a fault of ours is a traceback that asks to be reported."""

import io
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_run
from rosetune import cli
from rosetune.experiments import training
from rosetune.experiments.errors import disk_is_full, reworded
from rosetune.runs.values import RunError


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with tiny_run.quick():
        yield


@pytest.fixture
def train(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call `train` with two steps; exit code, standard output and standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        given = ["train", "--task", str(home / "my.csv"), "--model_name_or_path", str(home / "model")]
        given += ["--output_dir", str(home / "run"), "--sets", "clean", "--max_steps", "2", *words]
        try:
            cli.main(given)
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return call


def test_a_run_on_shards_is_refused_before_it_trains(train, monkeypatch):
    class Sharded(training.RobustTrainer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.is_fsdp_enabled = True  # which accelerate does on accelerators only

    monkeypatch.setattr(training, "RobustTrainer", Sharded)
    code, _, error = train("--seed", "7")
    assert code == 2
    assert "whole files, which FSDP and DeepSpeed do not write: launch without them" in error


@pytest.mark.parametrize(
    ("words", "package"),
    [
        (["--report_to", "wandb"], "wandb"),
        (["--report_to", "tensorboard"], "tensorboard"),
        (["--report_to", "trackio"], "trackio"),
        (["--report_to", "mlflow"], "mlflow"),
        (["--report_to", "dagshub"], "dagshub"),
        (["--report_to", "neptune"], "neptune"),
        (["--optim", "adamw_bnb_8bit"], "bitsandbytes"),
        (["--optim", "galore_adamw"], "galore_torch"),
        (["--deepspeed", "x.json"], "deepspeed"),
        (["--use_liger_kernel", "true"], "liger-kernel"),
    ],
)
def test_a_missing_package_is_one_line(words: list[str], package: str, train: Any, home: Path) -> None:
    if find_spec(package.replace("-", "_")) is not None:
        pytest.skip(f"{package} is installed")
    code, _, err = train(*words)
    assert code == 2
    assert err.splitlines()[-1].startswith("rosetune: error: ")
    assert package in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (home / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr_scheduler_kwargs", '{"nothing": 1}', "--lr_scheduler_type", "cosine"], "'nothing'"),
        (["--lr_scheduler_type", "warmup_stable_decay"], "num_decay_steps"),
        (["--gradient_accumulation_steps", "0"], "gradient_accumulation_steps must be at least 1, not 0"),
        (["--per_device_train_batch_size", "0"], "per_device_train_batch_size must be at least 1, not 0"),
        (["--optim_args", "fast"], "optim_args must be such as momentum=0.9"),
        (
            ["--dataloader_num_workers", "1", "--dataloader_prefetch_factor", "0"],
            "dataloader_prefetch_factor must be at least 1, not 0",
        ),
        (["--num_train_epochs", "nan"], "num_train_epochs must be a number of epochs"),
        (["--accelerator_config", '{"nothing": 1}'], "'nothing'"),
        (["--model_kwargs", '{"classifier_dropot": 0}'], "did you mean classifier_dropout?"),
    ],
)
def test_an_argument_that_cannot_work_is_one_line(words: list[str], message: str, train: Any, home: Path) -> None:
    code, _, err = train(*words)
    assert code == 2
    assert err.splitlines()[-1].startswith("rosetune: error: ")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (home / "run").exists()


def failing(error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    def fail(known: Any, rest: Any) -> None:
        raise error

    monkeypatch.setattr("rosetune.verbs.list.run", fail)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["list", "tasks"])
    return int(stopped.value.code or 0), capsys.readouterr().err


def test_a_fault_of_ours_asks_to_be_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (RuntimeError("no luck"), KeyError("x"), ModuleNotFoundError("gone", name="rosetune.gone")):
        code, err = failing(error, capsys, monkeypatch)
        assert code == 70
        assert "Traceback (most recent call last)" in err
        assert err.splitlines()[-1].startswith("rosetune: this is a fault of rosetune ")
        assert "report it" in err.splitlines()[-1]


def test_memory_and_missing_modules_are_the_user_s_to_mend(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, message in (
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nSee"), "(CUDA out of memory. Tried"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "--per_device_train_batch_size"),
        (MemoryError(), "out of memory"),
        (
            ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib"),
            "No module named 'matplotlib': install",
        ),
    ):
        code, err = failing(error, capsys, monkeypatch)
        assert code == 2
        assert err.startswith("rosetune: error: ")
        assert err.count("\n") == 1
        assert message in err


def test_only_what_is_named_is_reworded() -> None:
    with pytest.raises(RunError, match=r"^The 'x>=1' distribution was not found$"), reworded():
        raise PackageNotFoundError("The 'x>=1' distribution was not found.\nTry this")
    with pytest.raises(RunError, match=r"^no luck$"), reworded(RuntimeError):
        raise RuntimeError("no luck.\nmore")
    with pytest.raises(RuntimeError, match="no luck"), reworded():
        raise RuntimeError("no luck")
    with pytest.raises(FileNotFoundError), reworded(Exception):
        raise FileNotFoundError("x")


def test_a_hub_that_cannot_be_reached_is_one_line(train: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network, and with one that is told not to be used; before anything is trained."""
    from huggingface_hub import constants
    from huggingface_hub.hf_api import HfApi

    code, _, err = train("--push_to_hub", "true", "--hub_model_id", "me/mine")
    assert code == 2
    assert "offline mode is enabled" in err.splitlines()[-1]
    assert not (home / "run").exists()

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def nowhere(*arguments: Any, **options: Any) -> Any:
        # What create_repo does, at a place where nobody listens.
        from huggingface_hub.utils import get_session

        return get_session().post("http://127.0.0.1:9/api/repos/create", timeout=5)

    monkeypatch.setattr(HfApi, "create_repo", nowhere)
    code, _, err = train("--push_to_hub", "true", "--hub_model_id", "me/mine")
    assert code == 2
    assert "the hub cannot be reached (" in err.splitlines()[-1]
    assert "or leave out --push_to_hub" in err.splitlines()[-1]
    assert not (home / "run").exists()


def test_processes_that_would_train_each_by_itself_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under torchrun without a GPU, where each would write to the same folder."""
    from rosetune.experiments import training
    from rosetune.runs.config import RunConfig

    config = RunConfig(task="sst2", model_name_or_path="demo")
    assert training.training_arguments(config).world_size == 1
    monkeypatch.setattr(training, "world_size", lambda: 2)
    with pytest.raises(ValueError, match="2 processes were started, but each would train by itself: give --use_cpu"):
        training.training_arguments(config)


def torch_writes() -> None:
    torch.save({"a": torch.zeros(100_000)}, "/dev/full")


def torch_reads_what_is_broken() -> None:
    torch.load(io.BytesIO(b"PK" + bytes(100)))


def text_is_written() -> None:
    Path("/dev/full").write_text("text")


def text_is_read() -> None:
    Path("/dev/full/there").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("work", "full"),
    [(torch_writes, True), (text_is_written, True), (torch_reads_what_is_broken, False), (text_is_read, False)],
)
def test_a_full_disk_is_known_whoever_finds_it(work: Callable[[], None], full: bool) -> None:
    with pytest.raises(Exception) as caught:
        work()
    assert disk_is_full(caught.value) is full
    above = RuntimeError("training failed")
    above.__cause__ = caught.value
    assert disk_is_full(above) is full
