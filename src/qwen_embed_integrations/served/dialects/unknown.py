"""A server that is not known: OpenAI's form of an embedding request, and the form most rerankers share."""

from __future__ import annotations

from qwen_embed_integrations.served.dialects.base import Dialect, Reranks
from qwen_embed_integrations.served.dialects.examination import Causes, Remedies

DIALECT = Dialect(
    name="unknown",
    title="The server",
    # Nothing is known against it; the two names for an instruction are both tried.
    reranks=Reranks(instruction=lambda _: "sent"),
    # It may be any of these behind a proxy that hides it.
    causes=Causes(
        dimensions_ignored="SGLang does so up to 0.5.4, and llama.cpp does not know the field.",
        top_n_ignored="SGLang does so before 0.5.8, and sglang-router drops the field.",
    ),
    remedies=Remedies(
        batch_width_flag="SGLang's --max-running-requests, vLLM's --max-num-seqs",
        default_prompt_flags="text-embeddings-inference's --default-prompt, --default-prompt-name",
        dtype_flag="SGLang's and vLLM's --dtype bfloat16",
    ),
)
