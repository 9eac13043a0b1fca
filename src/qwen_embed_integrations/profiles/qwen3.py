"""Qwen3-Embedding and Qwen3-Reranker."""

from __future__ import annotations

from qwen_embed_integrations.profiles.types import ModelProfile, RerankProfile

# The README's own default. The repository's examples and mteb use another sentence for the reranker.
_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"

_README = "QwenLM/Qwen3-Embedding @ f4ad0c4 README.md"
_MTEB = "embeddings-benchmark/mteb @ a905523 mteb/models/model_implementations/qwen3_models.py"


def _embedding(size: str, dimensions: int, parameters: int) -> ModelProfile:
    return ModelProfile(
        name=f"Qwen/Qwen3-Embedding-{size}",
        dimensions=dimensions,
        max_tokens=32768,
        pooling="last",
        normalize=True,
        # No space after "Query:". One example on the model card sends one; the template and the code do not.
        query_prefix="Instruct: {instruction}\nQuery:",
        default_instruction=_INSTRUCTION,
        min_dimensions=32,
        # Not config.eos_token_id, which differs between the sizes.
        appended_token="<|endoftext|>",  # noqa: S106 a token of text, no secret
        architecture="qwen3",
        parameters=parameters,
        license="Apache-2.0",
        aliases=(f"qwen3-embedding:{size.lower()}",),
        sources=(
            f"{_README} (template, instruction, pooling, dimensions, context length, licence)",
            f"{_MTEB} (parameters)",
            "QwenLM/Qwen3-Embedding issues #54 and #122 (appended token)",
        ),
    )


def _reranker(size: str, parameters: int) -> RerankProfile:
    return RerankProfile(
        name=f"Qwen/Qwen3-Reranker-{size}",
        method="token_logits",
        prefix=(
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
            'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
        ),
        # The README's vLLM example joins these with two newlines; its transformers example and all ports with one.
        body="<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}",
        suffix="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        true_token="yes",  # noqa: S106 a token of text, no secret
        false_token="no",  # noqa: S106
        default_instruction=_INSTRUCTION,
        # What the README's recipe reads; the models' context is 32K.
        max_tokens=8192,
        architecture="qwen3",
        parameters=parameters,
        license="Apache-2.0",
        aliases=(f"qwen3-reranker:{size.lower()}",),
        sources=(
            f"{_README} (template, instruction, tokens, length, licence)",
            f"{_MTEB} (parameters)",
        ),
    )


PROFILES: tuple[ModelProfile | RerankProfile, ...] = (
    _embedding("0.6B", dimensions=1024, parameters=595_776_512),
    _embedding("4B", dimensions=2560, parameters=4_021_774_336),
    _embedding("8B", dimensions=4096, parameters=7_567_295_488),
    _reranker("0.6B", parameters=595_776_512),
    _reranker("4B", parameters=4_021_784_576),
    _reranker("8B", parameters=8_188_548_096),
)
