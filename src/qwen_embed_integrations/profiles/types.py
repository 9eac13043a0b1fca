"""What a profile says about a model: frozen data, no behaviour beyond reading it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from qwen_embed_integrations.errors import InvalidInputError

Role = Literal["query", "document"]
Pooling = Literal["last", "cls", "mean"]
RerankMethod = Literal["token_logits", "cross_encoder", "cosine"]

_SLOT = "{instruction}"


def _fill(template: str, instruction: str | None) -> str:
    # Not str.format: an instruction may hold braces of its own.
    return template.replace(_SLOT, instruction or "")


def _fill_both(template: str, instruction: str, query: str) -> str:
    # The query goes in last, so that braces in it or in the instruction are left alone.
    before, slot, after = template.partition("{query}")
    return _fill(before, instruction) + (query if slot else "") + _fill(after, instruction)


@dataclass(frozen=True, kw_only=True)
class ModelProfile:
    """What an embedding model wants and gives.

    Attributes:
        name: Hub id, or the name a hosted API knows it by.
        dimensions: Size of a full vector, or None where only the model itself can tell.
        max_tokens: Longest input in tokens, special tokens included, or None where unknown.
        pooling: How token vectors become one vector; None for hosted models.
        normalize: Whether the model's own pipeline returns unit length. This package always does.
        query_prefix: Put before a query; may hold `{instruction}`.
        document_prefix: Put before a document, as it stands; empty for most models.
        default_instruction: Used where the caller gives none.
        min_dimensions: Smallest size a vector may be cut to (Matryoshka), or None if it may not be cut.
        listed_dimensions: The only sizes allowed, for APIs that list them.
        sends_dimensions: Whether the hosted API cuts vectors itself, on a `dimensions` field.
        max_batch: How many texts a hosted API takes in one request.
        base64: Whether the hosted API can answer in base64.
        appended_token: Token that must end every input, since the vector is pooled from it.
        architecture: Family of the local checkpoint, such as `qwen3`, `bert` or `jina_bert`; None for hosted models.
        parameters: Number of weights.
        license: SPDX id of the weights' licence.
        aliases: Other names of the same model.
        sources: Where these facts were read.
    """

    name: str
    dimensions: int | None = None
    max_tokens: int | None = None
    pooling: Pooling | None = None
    normalize: bool = False
    query_prefix: str = ""
    document_prefix: str = ""
    default_instruction: str | None = None
    min_dimensions: int | None = None
    listed_dimensions: tuple[int, ...] = ()
    sends_dimensions: bool = False
    max_batch: int | None = None
    base64: bool = True
    appended_token: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    license: str | None = None
    aliases: tuple[str, ...] = ()
    sources: tuple[str, ...] = field(default=(), repr=False)

    @property
    def takes_instruction(self) -> bool:
        """Whether the query prefix has room for an instruction."""
        return _SLOT in self.query_prefix

    def prefix(self, role: Role, instruction: str | None = None) -> str:
        """Return what goes before a text.

        Args:
            role: `"query"` or `"document"`.
            instruction: Replaces the default instruction; only queries carry one.

        Returns:
            The prefix, empty for models without prompts.

        Raises:
            InvalidInputError: If an instruction is given for a model that takes none.
        """
        if role == "document":
            return self.document_prefix
        if instruction is not None and not self.takes_instruction:
            raise InvalidInputError(
                f"`instruction` was given, but {self.name} takes none. Leave it out, or pass a `profile` whose "
                f"`query_prefix` holds {_SLOT}.",
                parameter="instruction",
            )
        return _fill(self.query_prefix, self.default_instruction if instruction is None else instruction)

    def check_dimensions(self, dimensions: int | None) -> None:
        """Refuse a vector size this model cannot give.

        Args:
            dimensions: The requested size, or None for the full vector.

        Raises:
            InvalidInputError: Naming the sizes that are allowed.
        """
        if dimensions is None:
            return
        if isinstance(dimensions, bool) or not isinstance(dimensions, int):
            allowed = "a whole number"
        elif dimensions == self.dimensions:
            return
        elif self.listed_dimensions:
            if dimensions in self.listed_dimensions:
                return
            allowed = "one of " + ", ".join(map(str, self.listed_dimensions))
        elif self.min_dimensions is None and self.dimensions is not None:
            allowed = f"{self.dimensions}, since the model was not trained to be cut"
        else:
            low, high = self.min_dimensions or 1, self.dimensions
            if dimensions >= low and (high is None or dimensions <= high):
                return
            allowed = f"between {low} and {high}" if high is not None else f"at least {low}"
        raise InvalidInputError(
            f"`dimensions` is {dimensions!r}; for {self.name} it must be {allowed}.", parameter="dimensions"
        )


@dataclass(frozen=True, kw_only=True)
class RerankProfile:
    """What a reranker wants and gives.

    Attributes:
        name: Hub id, or the name a hosted API knows it by.
        method: `"token_logits"` compares two tokens' logits at the last position of a prompt;
            `"cross_encoder"` reads a sequence-classification head over the pair; `"cosine"` compares the vectors of an
            embedding model (`Reranker.over`).
        prefix: Opens the prompt (`token_logits`).
        body: The middle of the prompt, with `{instruction}`, `{query}` and, after both, `{document}`
            (`token_logits`); in pieces where they are tokenized apart.
        instruction_line: Stands for `{instruction}` in `body`, and is left out without an instruction.
        suffix: Closes the prompt (`token_logits`).
        true_token: Token that speaks for relevance (`token_logits`).
        false_token: Token that speaks against it (`token_logits`).
        default_instruction: Used where the caller gives none; None where the prompt has none by default.
        max_tokens: Longest input in tokens, special tokens included.
        architecture: Family of the local checkpoint.
        parameters: Number of weights.
        license: SPDX id of the weights' licence.
        aliases: Other names of the same model.
        sources: Where these facts were read.
    """

    name: str
    method: RerankMethod = "cross_encoder"
    prefix: str = ""
    body: str | tuple[str, ...] = ""
    instruction_line: str = _SLOT
    suffix: str = ""
    true_token: str = ""
    false_token: str = ""
    default_instruction: str | None = None
    max_tokens: int | None = None
    architecture: str | None = None
    parameters: int | None = None
    license: str | None = None
    aliases: tuple[str, ...] = ()
    sources: tuple[str, ...] = field(default=(), repr=False)

    @property
    def takes_instruction(self) -> bool:
        """Whether the prompt has room for an instruction."""
        return any(_SLOT in piece for piece in self._body)

    def lead(self, query: str, instruction: str | None = None) -> str:
        """Return the part of the prompt that all documents of one query share.

        Args:
            query: The query.
            instruction: Replaces the default instruction; an empty one leaves it out.

        Returns:
            Everything up to where the document begins.
        """
        return "".join(self.pieces(query, instruction)[0])

    @property
    def tail(self) -> str:
        """The part of the prompt after the document."""
        return "".join(self.pieces("")[1])

    def pieces(self, query: str, instruction: str | None = None) -> tuple[list[str], list[str]]:
        """Return the prompt around a document, in the pieces it is tokenized by.

        Args:
            query: The query.
            instruction: Replaces the default instruction; an empty one leaves it out.

        Returns:
            The pieces before the document and those after it. The last before and the first after are tokenized
            together with the document.
        """
        chosen = self.default_instruction if instruction is None else instruction
        line = _fill(self.instruction_line, chosen) if chosen else ""
        position = next((index for index, piece in enumerate(self._body) if "{document}" in piece), 0)
        before, _, after = self._body[position].partition("{document}")
        filled = [_fill_both(piece, line, query) for piece in (*self._body[:position], before)]
        return [self.prefix, *filled], [after, *self._body[position + 1 :], self.suffix]

    @property
    def _body(self) -> tuple[str, ...]:
        return (self.body,) if isinstance(self.body, str) else self.body
