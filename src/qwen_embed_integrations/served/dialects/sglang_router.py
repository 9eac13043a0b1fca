"""sglang-router in front of SGLang servers. Recorded from 0.3.2.

On the way of a rerank request it drops the instruction, and it puts the answer's list under `results`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.dialects.base import Dialect, Reranks, common_body, flag, text, texts
from qwen_embed_integrations.served.dialects.examination import Causes, Examination, Remedies, SelfReport
from qwen_embed_integrations.served.dialects.sglang import start_reranker, task_of
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions

# A worker's, passed through; the router's own `/get_server_info` tells neither versions nor limits.
_MODEL_INFO = "/get_model_info"


def recognise(questions: Questions) -> Flow[bool]:
    """Ask whether it is the router."""
    owner = yield from questions.owner()
    return owner == "local" and "is_generation" in (yield from questions.ask(_MODEL_INFO))


def describe(questions: Questions) -> Flow[ServerInfo]:
    """Ask what its workers run."""
    listed = yield from questions.listed()
    model_info = yield from questions.ask(_MODEL_INFO)
    return ServerInfo(
        kind="sglang_router",
        task=task_of(model_info),
        model=text(model_info.get("model_path")) or text(listed.get("id")),
    )


def report(questions: Questions) -> Flow[SelfReport]:
    """Ask what its workers say about themselves."""
    model = yield from questions.hint(_MODEL_INFO)
    return SelfReport(
        model_path=text(model.get("model_path")),
        architectures=texts(model.get("architectures")),
        generates=flag(model.get("is_generation")),
    )


DIALECT = Dialect(
    name="sglang_router",
    title="sglang-router",
    recognise=recognise,
    describe=describe,
    # Its /v1/rerank loses the model's name and `return_documents` too.
    reranks=Reranks(paths=lambda base_url, _: (f"{root_of(base_url)}/rerank",), body=common_body),
    advice={"rerank": "Its workers serve Qwen3-Reranker with the chat template and without --is-embedding."},
    examination=Examination(report=report),
    causes=Causes(
        instruction_ignored="sglang-router drops the field.",
        top_n_ignored="sglang-router drops the field.",
    ),
    remedies=Remedies(start_reranker=start_reranker),
)
