"""What tests of the doctor share: findings at a glance, prompts of rerankers, and proxies that break replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.profiles import RerankProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    import loopback
    from qwen_embed_integrations.doctor.findings import Finding
    from qwen_embed_integrations.doctor.server import ExaminedServer

    Findings: TypeAlias = dict[str, Finding]
    # Start a tiny server; the arguments of `TinyServer`, and `breaks`, which changes its answers as a proxy does.
    Start: TypeAlias = Callable[..., loopback.Server]
    # Examine a server; the arguments of `examine`. The worst finding of each code.
    Examined: TypeAlias = Callable[..., Findings]
    # Connect to a server as one of a kind, for checks by themselves.
    Connected: TypeAlias = Callable[..., ExaminedServer]

_RERANKER = profile_for("Qwen/Qwen3-Reranker-0.6B")
THINK = "<think>\n\n</think>\n\n"


def bad(findings: Findings) -> set[str]:
    """Return the codes of what is wrong, or a warning."""
    return {code for code, finding in findings.items() if finding.severity in {"wrong", "warning"}}


def official_prompt(query: str, document: str, instruction: str | None) -> str:
    """Return what Qwen3-Reranker was trained on."""
    assert isinstance(_RERANKER, RerankProfile)
    return _RERANKER.lead(query, instruction) + document + _RERANKER.tail


def bare_prompt(query: str, document: str, _: str | None) -> str:
    """Return what a server without a template makes of a query and a document."""
    return query + document


def changing_rows(
    change: Callable[[list[dict[str, Any]], dict[str, Any]], list[dict[str, Any]] | None],
) -> Callable[[loopback.Request, loopback.Answer], loopback.Answer]:
    """Change the rows of embedding replies.

    Args:
        change: Given the rows and the request's body; the list it returns replaces them, None keeps them as changed.
    """

    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        status, body, headers = answer
        if status == 200 and request.path.endswith("/embeddings"):
            rows = change(body["data"], request.body)
            return status, body | {"data": body["data"] if rows is None else rows}, headers
        return answer

    return breaks


def changing_scores(
    change: Callable[[list[dict[str, Any]]], None],
) -> Callable[[loopback.Request, loopback.Answer], loopback.Answer]:
    """Change the rows of SGLang's rerank replies in place."""

    def breaks(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        if request.path.endswith("/rerank") and answer[0] == 200:
            change(answer[1])
        return answer

    return breaks


def without_vectors(rows: list[dict[str, Any]], _: Any) -> None:
    """Put null in the place of every number."""
    for row in rows:
        row["embedding"] = [None] * 64
