from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Main = Callable[[list[str]], int]


TINY = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "vocab_size": 8000,
    # With the usual 0.02 all texts of so small a model would have nearly the same vector.
    "initializer_range": 0.1,
}


@pytest.fixture
def tiny() -> dict[str, Any]:
    """Sizes of a small encoder."""
    return dict(TINY)


@pytest.fixture
def tiny_qwen3() -> dict[str, Any]:
    """Sizes of a small decoder."""
    return TINY | {"num_key_value_heads": 2, "head_dim": 16}


@pytest.fixture(autouse=True)
def settings_of_the_process() -> Iterator[None]:
    """Give back what the scripts set for their whole process."""
    disabled, threads = logging.root.manager.disable, torch.get_num_threads()
    yield
    logging.disable(disabled)
    torch.set_num_threads(threads)
    transformers.utils.logging.enable_progress_bar()


@pytest.fixture
def measure(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run a script in this process, and read the figures it wrote."""

    def run(main: Main, **options: Any) -> dict[str, Any]:
        output = tmp_path / "figures.json"
        options |= {"output": output, "rounds": 1}
        given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
        assert main(given) == 0
        figures: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return figures

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[Main, str], str]:
    """Give a script options that cannot be, and return what it says."""

    def run(main: Main, options: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(options.split())
        assert ended.value.code == 2
        return capsys.readouterr().err

    return run
