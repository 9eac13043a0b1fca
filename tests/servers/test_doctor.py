"""The doctor on real servers: rightly started ones raise no alarm, wrongly started ones are found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.doctor.run import examine
from real_servers import EMBEDDER_ARGS, RERANKER_ARGS

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from qwen_embed_integrations.doctor.findings import Finding
    from real_servers import Engine, RealServers

WITHOUT_THINK_BLOCK = """<|im_start|>system
Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer \
can only be "yes" or "no".<|im_end|>
<|im_start|>user
<Instruct>: {{ instruct | default("Given a web search query, retrieve relevant passages that answer the query.") }}
<Query>: {{ messages[0]["content"] }}
<Document>: {{ messages[1]["content"] }}<|im_end|>
<|im_start|>assistant{{ '\\n' }}"""


def examined(url: str, **options: Any) -> dict[str, Finding]:
    """Return findings by their codes."""
    return {each.code: each for each in examine(url, **{"with_load": False} | options)}


def bad(findings: dict[str, Finding]) -> set[str]:
    return {code for code, each in findings.items() if each.severity in {"wrong", "warning"}}


def test_a_right_embedding_server_raises_no_alarm(embedding_url: str, tiny_embedder: Path) -> None:
    findings = examined(embedding_url, compare_with=str(tiny_embedder))
    assert bad(findings) == set()
    assert findings["pooling"].details["pooling"] == "last"
    assert findings["eos"].severity == "ok"
    assert findings["reference"].details["cosine"] > 1 - 1e-5


def test_a_right_rerank_server_misses_only_the_numbers_published_for_its_name(
    rerank_url: str, tiny_reranker: Path
) -> None:
    findings = examined(rerank_url, compare_with=str(tiny_reranker))
    assert bad(findings) == {"golden"}  # untrained weights under the name of trained ones
    assert findings["template"].severity == "ok"
    assert findings["instruction"].severity == "ok"
    assert findings["reference"].details["apart"] < 1e-4


def test_the_load_of_a_right_server_is_measured(embedding_url: str) -> None:
    levels = examined(embedding_url, with_load=True)["load"].details["levels"]
    assert [level["in_flight"] for level in levels] == [1, 8, 32]
    assert all(level["requests"] and level["p95_ms"] >= level["p50_ms"] for level in levels)


@pytest.mark.parametrize("pooling", ["MEAN", "CLS"])
def test_a_wrong_pooling_on_vllm_is_found(pooling: str, start: RealServers, tiny_embedder: Path) -> None:
    settings = f'{{"pooling_type": "{pooling}"}}'
    finding = examined(start("vllm", tiny_embedder, *EMBEDDER_ARGS["vllm"], "--pooler-config", settings))["pooling"]
    assert finding.severity == "wrong"
    assert finding.details == {"pooling": pooling.lower(), "expected": "last"}
    assert '"pooling_type": "LAST"' in finding.mend


def test_a_tokenizer_without_the_end_token_is_found(
    start: RealServers, engine: Engine, tiny_embedder_without_eos: Path
) -> None:
    findings = examined(start(engine, tiny_embedder_without_eos, *EMBEDDER_ARGS[engine]))
    assert bad(findings) == {"eos"}


def test_missing_matryoshka_is_found(start: RealServers, engine: Engine, tiny_embedder: Path) -> None:
    without = {"sglang": ["--is-embedding"], "vllm": ["--convert", "embed"]}[engine]
    findings = examined(start(engine, tiny_embedder, *without))
    assert bad(findings) == {"matryoshka"}
    assert "is_matryoshka" in findings["matryoshka"].mend


def test_an_embedding_model_as_a_generator_on_sglang_is_found(start: RealServers, tiny_embedder: Path) -> None:
    finding = examined(start("sglang", tiny_embedder))["not-embedding"]
    assert finding.severity == "wrong"
    assert "--is-embedding" in finding.mend


def test_a_missing_chat_template_is_found(start: RealServers, engine: Engine, tiny_reranker: Path) -> None:
    finding = examined(start(engine, tiny_reranker, *RERANKER_ARGS[engine]), model="Qwen/Qwen3-Reranker-0.6B")[
        "template"
    ]
    assert finding.severity == "wrong"
    assert "--chat-template" in finding.mend


def test_the_template_that_ships_with_sglang_is_found(start: RealServers, tiny_reranker: Path, tmp_path: Path) -> None:
    template = tmp_path / "shipped.jinja"
    template.write_text(WITHOUT_THINK_BLOCK, encoding="utf-8")
    finding = examined(start("sglang", tiny_reranker, "--chat-template", str(template)))["template"]
    assert finding.severity == "warning"
    assert "ships with SGLang" in finding.found


def test_a_reranker_that_was_started_to_embed_is_found(start: RealServers, tiny_reranker: Path) -> None:
    url = start("sglang", tiny_reranker, "--is-embedding")
    assert examined(url, model="Qwen/Qwen3-Reranker-0.6B")["reranker-as-embedder"].severity == "wrong"


def test_a_cut_that_loses_the_end_token_is_found(start: RealServers, tiny_embedder: Path) -> None:
    finding = examined(start("sglang", tiny_embedder, *EMBEDDER_ARGS["sglang"], "--allow-auto-truncate"))["long-text"]
    assert finding.severity == "warning"
    assert "losing the end token" in finding.found


def test_a_short_queue_is_found_under_load(start: RealServers, tiny_embedder: Path) -> None:
    url = start("sglang", tiny_embedder, *EMBEDDER_ARGS["sglang"], "--max-queued-requests", "2")
    finding = examined(url, with_load=True)["busy"]
    assert finding.severity == "warning"
    assert "--max-queued-requests" in finding.cause


def test_a_server_that_dies_is_a_finding(start: RealServers, tiny_embedder: Path) -> None:
    server = start.new("sglang", tiny_embedder, *EMBEDDER_ARGS["sglang"])
    server.start()
    server.wait()
    findings = []
    for finding in examine(server.root_url, with_load=False):
        findings.append(finding)
        if finding.code == "task":
            server.kill()
    assert findings[-1].code == "died"
    assert findings[-1].severity == "wrong"
