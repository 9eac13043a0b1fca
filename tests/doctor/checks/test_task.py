from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import loopback
    from examinations import Examined, Start


def test_a_reranker_that_was_started_to_embed_is_wrong(start: Start, examined: Examined) -> None:
    finding = examined(start(), model="Qwen/Qwen3-Reranker-0.6B")["reranker-as-embedder"]
    assert finding.severity == "wrong"
    assert finding.cause == "--is-embedding was given."
    assert "--chat-template" in finding.mend


def test_an_embedding_model_asked_to_rerank_is_told_by_how_it_was_started(start: Start, examined: Examined) -> None:
    def ranks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if not request.path.endswith("/rerank"):
            return answer
        return 200, [{"index": index, "score": index / 10} for index in range(len(request.body["documents"]))], {}

    finding = examined(start(breaks=ranks), task="rerank")["embedder-as-reranker"]
    assert finding.severity == "wrong"
    assert "--task" in finding.mend


def test_a_known_embedding_model_that_ranks_is_wrong_with_the_reranker_to_serve(
    start: Start, examined: Examined
) -> None:
    findings = examined(start(task="rerank"), task="rerank", model="Qwen/Qwen3-Embedding-0.6B")
    assert findings["embedder-as-reranker"].severity == "wrong"
    assert findings["embedder-as-reranker"].mend == "qwen-embed serve Qwen/Qwen3-Reranker-0.6B"


def test_a_missing_template_on_sglang_is_not_mended_by_its_own_advice(start: Start, examined: Examined) -> None:
    finding = examined(start(task="rerank", prompt=None), model="Qwen/Qwen3-Reranker-0.6B")["template"]
    assert finding.severity == "wrong"
    assert "false lead" in finding.found
    assert "--chat-template" in finding.mend
    assert "--is-embedding" not in finding.mend


def test_an_unknown_generator_on_sglang_may_be_either(start: Start, examined: Examined) -> None:
    finding = examined(start(task="rerank", prompt=None))["template"]
    assert "Or it is an embedding model." in finding.cause
    assert "--chat-template" in finding.mend
    assert "--is-embedding" in finding.mend


def test_an_embedding_model_started_as_a_generator_is_told_by_its_tokenizer(
    start: Start, examined: Examined, tiny_model: tuple[Any, Any]
) -> None:
    end = tiny_model[1].convert_tokens_to_ids("<|endoftext|>")
    finding = examined(start(task="rerank", prompt=None, appends=end))["not-embedding"]
    assert finding.severity == "wrong"
    assert finding.found.startswith("SGLang runs tiny as a text generator")
    assert "--is-embedding" in finding.mend


def test_a_vllm_without_the_route_was_started_for_something_else(start: Start, examined: Examined) -> None:
    finding = examined(start(kind="vllm", task="rerank"), task="embed")["not-pooling"]
    assert finding.severity == "wrong"
    assert "mounts no route to embed" in finding.found
    assert "--convert embed" in finding.mend
    assert "Qwen3ForSequenceClassification" in finding.mend


def test_a_reranker_asked_to_embed_is_not_told_to_start_as_an_embedder(start: Start, examined: Examined) -> None:
    findings = examined(start(task="rerank"), task="embed", model="Qwen/Qwen3-Reranker-0.6B")
    assert findings["wrong-task"].severity == "wrong"
    assert "--is-embedding" not in findings["wrong-task"].mend


def test_a_refused_rerank_request_comes_with_the_command_that_serves_a_reranker(
    start: Start, examined: Examined
) -> None:
    def refuses(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        return (400, {"message": "No."}, {}) if request.path.endswith("/rerank") else answer

    finding = examined(start(refuses, task="rerank"))["refused"]
    assert finding.severity == "wrong"
    assert "--chat-template" in finding.mend
