"""Does the tokenizer end every text with the token that the vector is pooled from?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.doctor.server import END
from qwen_embed_integrations.profiles import ModelProfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.doctor.server import ExaminedServer

_MEND = (
    "Put back the tokenizer.json of the official repository (its post-processor appends <|endoftext|>), remove "
    '"add_eos_token" from tokenizer_config.json, and restart. For a GGUF take a conversion made after June 2025.'
)
_ITSELF_AND_END = 2


def check_end(server: ExaminedServer) -> Iterator[Finding]:
    """Embed the end token alone: it counts 2 tokens where the tokenizer appends another, and 1 where it does not."""
    profile = server.profile
    if isinstance(profile, ModelProfile) and profile.appended_token is None:
        yield ok("eos", f"{profile.name} needs no token at the end.")
        return
    counted = server.embed(END).tokens
    tokens = server.end_tokens
    count = len(tokens) if tokens is not None else counted
    if not count:
        yield note("eos", f"Whether {END} is appended cannot be told: the server counts no tokens.")
        return
    certain = isinstance(profile, ModelProfile)
    if not certain and server.is_causal is not True and count > _ITSELF_AND_END:
        yield ok("eos", "The tokenizer is not Qwen's.")
        return
    if tokens is not None and counted and counted != len(tokens):
        flags = server.dialect.remedies.default_prompt_flags
        yield warning(
            "eos",
            f"A text of {len(tokens)} tokens is charged as {counted}: the server adds something to texts.",
            cause="A default prompt is configured on the server.",
            mend=f"Remove it{f' ({flags})' if flags else ''}: prompts belong to the client.",
            charged=counted,
            tokens=len(tokens),
        )
    if tokens is not None and len(tokens) == _ITSELF_AND_END and tokens[0] != tokens[1]:
        yield (wrong if certain else warning)(
            "eos",
            f"The tokenizer ends texts with token {tokens[1]}, not with {END} ({tokens[0]}).",
            cause='"add_eos_token" in tokenizer_config.json replaces the post-processor and appends <|im_end|>.',
            mend=_MEND,
        )
    elif count == _ITSELF_AND_END:
        yield ok("eos", f"The tokenizer ends every text with {END}.", tokens=count)
    elif count == 1:
        yield (wrong if certain else warning)(
            "eos",
            f"The tokenizer does not end texts with {END}, from which Qwen3-Embedding pools its vectors."
            + ("" if certain else " (If this model is no Qwen3-Embedding, that may be as it should be.)"),
            cause="The tokenizer files are an early snapshot or a conversion that lost the post-processor"
            + ("." if certain else ", or the model is a Qwen3-Reranker that was started to embed."),
            mend=_MEND,
        )
    elif certain:
        flag = server.dialect.remedies.tokenizer_flag
        yield wrong(
            "eos",
            f"{END} becomes {count} tokens: this is not Qwen's tokenizer.",
            cause="The server was given another tokenizer, or another model.",
            mend=f"Restart it {f'without {flag}, or ' if flag else ''}with the model's own.",
        )
    else:
        yield note("eos", f"{END} becomes {count} tokens: the tokenizer is not Qwen's, and is not judged.")
