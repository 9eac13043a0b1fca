"""Real servers, and the tiny models they serve. Run by `make test-servers`."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import checkpoints
from qwen_embed_integrations import ModelProfile, profile_for
from real_servers import EMBEDDER_ARGS, ENGINES, RERANKER, RERANKER_ARGS, Engine, RealServers

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

torch.set_num_threads(1)  # the servers need the other core

_SERVERS = pytest.StashKey[RealServers]()


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[RealServers]:
    """Start servers: `start("sglang", folder, "--is-embedding")` gives the root URL of a ready one."""
    servers = RealServers(tmp_path_factory.mktemp("logs"))
    request.config.stash[_SERVERS] = servers
    yield servers
    servers.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of the servers' logs with a failure."""
    report = yield
    if report.failed and (servers := item.config.stash.get(_SERVERS, None)) is not None:
        for server in servers.running():
            report.sections.append((f"{server.engine} {' '.join(server.args)}", server.tail()))
    return report


@pytest.fixture(scope="session")
def tiny_embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-Embedding of 64 dimensions that reads 512 tokens."""
    return checkpoints.qwen3(tmp_path_factory.mktemp("models") / "tiny-embedder")


@pytest.fixture(scope="session")
def tiny_embedder_without_eos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights with a tokenizer that appends no `<|endoftext|>`."""
    return checkpoints.qwen3(tmp_path_factory.mktemp("models") / "tiny-embedder-without-eos", append_eos=False)


@pytest.fixture(scope="session")
def tiny_reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-Reranker that reads 2,048 tokens."""
    return checkpoints.qwen3(tmp_path_factory.mktemp("models") / "tiny-reranker", append_eos=False, max_tokens=2048)


@pytest.fixture(scope="session")
def tiny_profile() -> ModelProfile:
    """What the tiny embedder wants: all that Qwen3-Embedding does, but its size."""
    known = profile_for("Qwen/Qwen3-Embedding-0.6B")
    assert isinstance(known, ModelProfile)
    return replace(known, name="tiny-embedder", dimensions=64, max_tokens=512)


@pytest.fixture(scope="session")
def reranker_name() -> str:
    """The name that rerank servers know their model by."""
    return RERANKER


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Texts of all sorts."""
    return checkpoints.sample_texts()


@pytest.fixture(scope="session")
def reranker_template() -> Path:
    """The chat template that renders Qwen's own prompt."""
    return Path(str(resources.files("qwen_embed_integrations"))) / "serve/templates/qwen3_reranker.jinja"


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    chosen: Engine = request.param
    return chosen


@pytest.fixture
def embedding_url(start: RealServers, engine: Engine, tiny_embedder: Path) -> str:
    """The root URL of a rightly started embedding server."""
    return start(engine, tiny_embedder, *EMBEDDER_ARGS[engine])


@pytest.fixture
def rerank_url(start: RealServers, engine: Engine, tiny_reranker: Path, reranker_template: Path) -> str:
    """The root URL of a rightly started rerank server."""
    return start(engine, tiny_reranker, *RERANKER_ARGS[engine], "--chat-template", str(reranker_template))
