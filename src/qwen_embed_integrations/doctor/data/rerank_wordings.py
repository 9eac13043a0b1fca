"""Prompts that servers are known to show a generative reranker: the model's own, and the wrong ones in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_embed_integrations.doctor.findings import Severity
    from qwen_embed_integrations.profiles import RerankProfile

QUERY = "Which animal breathes air?"
DOCUMENTS = ("Whales breathe air.", "The invoice is due on the first of next month.", "yes")
INSTRUCTION = "Find invoices"
BARE = "the bare query and document"

_THINK = "<think>\n\n</think>\n\n"
_OTHER_DEFAULT = "Given the user query, retrieval the relevant passages"


@dataclass(frozen=True)
class Wording:
    """A prompt that servers are known to use.

    Attributes:
        name: For messages.
        severity: How bad it is.
        prompt: Makes it from a document and an instruction; None for the default one.
        ends: Whether the tokenizer's end token follows.
    """

    name: str
    severity: Severity
    prompt: Callable[[str, str | None], str]
    ends: bool = False


def known_wordings(profile: RerankProfile) -> list[Wording]:
    """Return the prompts in use around `QUERY`, the model's own first."""

    def official(document: str, instruction: str | None) -> str:
        return profile.lead(QUERY, instruction) + document + profile.tail

    def bare(document: str, _: str | None) -> str:
        return QUERY + document

    def changed(change: Callable[[str], str]) -> Callable[[str, str | None], str]:
        return lambda document, instruction: change(official(document, instruction))

    def with_full_stop(document: str, instruction: str | None) -> str:
        given = instruction if instruction is not None else f"{profile.default_instruction}."
        return official(document, given).removesuffix(_THINK)

    def with_other_default(document: str, instruction: str | None) -> str:
        return official(document, _OTHER_DEFAULT if instruction is None else instruction)

    def with_blank_lines(prompt: str) -> str:
        return prompt.replace("\n<Query>", "\n\n<Query>").replace("\n<Document>", "\n\n<Document>")

    wordings = [
        Wording("its own prompt", "ok", official),
        Wording(BARE, "wrong", bare),
        Wording(BARE, "wrong", bare, ends=True),
        Wording("its own prompt with an end token after it", "wrong", official, ends=True),
    ]
    if profile.suffix.endswith(_THINK):
        wordings += [
            Wording(
                "the template that ships with SGLang (no think block, a full stop more)", "warning", with_full_stop
            ),
            Wording("its prompt without the think block", "warning", changed(lambda text: text.removesuffix(_THINK))),
            Wording("its prompt one newline short (vLLM's example template)", "note", changed(lambda text: text[:-1])),
            Wording("its prompt two newlines short", "note", changed(lambda text: text[:-2])),
            Wording(
                "its prompt with blank lines between the fields (the README's vLLM example)",
                "note",
                changed(with_blank_lines),
            ),
            Wording("its prompt with the default instruction of the repository's examples", "note", with_other_default),
        ]
    return wordings
