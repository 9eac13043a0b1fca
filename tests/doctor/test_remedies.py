from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.doctor import remedies
from qwen_embed_integrations.profiles import profile_for
from qwen_embed_integrations.served.dialects.examination import SelfReport

if TYPE_CHECKING:
    from examinations import Connected

LOCAL = "http://localhost:30000/v1"
REMOTE = "https://models.example.org:8443/v1"
KNOWN = "Qwen/Qwen3-Embedding-0.6B"


def test_on_sglang_the_package_s_command_comes_before_sglangs(connected: Connected) -> None:
    ours, theirs = remedies.start_embedder(connected(LOCAL, "sglang", model=KNOWN)).splitlines()
    assert ours == f"qwen-embed serve {KNOWN} --port 30000"
    assert theirs == (
        f"""sglang serve --model-path {KNOWN} --is-embedding --json-model-override-args '{{"is_matryoshka": true}}' """
        "--port 30000"
    )


def test_vllm_is_started_as_vllm(connected: Connected) -> None:
    ours, theirs = remedies.start_embedder(connected(LOCAL, "vllm", model=KNOWN), "last").splitlines()
    assert ours == f"qwen-embed serve {KNOWN} --engine vllm --port 30000"
    assert theirs.startswith(f"vllm serve {KNOWN} --runner pooling")
    assert """--pooler-config '{"pooling_type": "LAST"}' --port 30000""" in theirs


@pytest.mark.parametrize("kind", ["ollama", "infinity", "unknown", "sglang_router"])
def test_what_has_no_command_known_here_is_replaced(connected: Connected, kind: str) -> None:
    assert remedies.start_embedder(connected(LOCAL, kind, model=KNOWN)) == f"qwen-embed serve {KNOWN} --port 30000"


@pytest.mark.parametrize("kind", ["sglang", "sglang_router", "vllm"])
def test_a_rerankers_command_names_a_template_that_is_there(connected: Connected, kind: str) -> None:
    command = remedies.start_reranker(connected(LOCAL, kind, model="Qwen/Qwen3-Reranker-0.6B")).splitlines()[1]
    words = shlex.split(command)
    assert "<think>" in Path(words[words.index("--chat-template") + 1]).read_text(encoding="utf-8")


def test_the_port_of_another_host_may_be_a_proxys(connected: Connected) -> None:
    assert "--port" not in remedies.start_embedder(connected(REMOTE, "sglang", model=KNOWN))


def test_a_model_that_is_not_known_is_described(connected: Connected) -> None:
    server = connected(LOCAL, "unknown", model="/models/my model")
    assert remedies.start_embedder(server) == "qwen-embed serve '/models/my model' --task embed --port 30000"
    assert "--task rerank --profile Qwen/Qwen3-Reranker-0.6B" in remedies.start_reranker(server)
    server.profile = profile_for(KNOWN)
    assert f"--profile {KNOWN}" in remedies.start_embedder(server)


def test_an_alias_starts_the_model_behind_it(connected: Connected) -> None:
    server = connected(LOCAL, "vllm", model="mine")
    server.report = SelfReport(root=KNOWN)
    assert f"vllm serve {KNOWN}" in remedies.start_embedder(server)


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("vllm", "Serve it in bfloat16 or float32: --dtype bfloat16"),
        ("ollama", "Serve it in bfloat16 or float32."),
    ],
)
def test_a_wider_precision_comes_with_its_flag_where_it_is_known(connected: Connected, kind: str, advice: str) -> None:
    assert remedies.wider_precision(connected(LOCAL, kind)) == advice
