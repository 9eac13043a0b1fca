"""The server under examination: a connection, what is known of it, and ways to ask it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from qwen_embed_integrations.doctor.self_report import folder_of
from qwen_embed_integrations.errors import EndpointNotFoundError, ServerError
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for
from qwen_embed_integrations.served.address import root_of
from qwen_embed_integrations.served.dialects import DIALECTS, UNKNOWN
from qwen_embed_integrations.served.dialects.examination import SelfReport
from qwen_embed_integrations.served.flow import Request
from qwen_embed_integrations.served.replies import parse_json, read_embeddings, read_scores, tokens_used
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from qwen_embed_integrations.served.connection import Connection
    from qwen_embed_integrations.served.dialects.base import Dialect, Embeds, Reranks
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.server_info import Task

    Rows = npt.NDArray[np.float64]
    Inputs = str | Sequence[str] | Sequence[Sequence[int]]

END = "<|endoftext|>"  # what Qwen3-Embedding's tokenizer puts at the end of every text
_CHAT = "<|im_start|>"
_ITSELF_AND_END = 2  # tokens of END where another is appended
_BATCH_SIZE = 32  # texts in a request, where the server takes as many
# What names of quantized copies hold.
_QUANTIZATIONS = (
    *("awq", "gptq", "gguf", "int4", "int8", "fp8", "fp4", "4bit", "8bit"),
    *("q4_", "q5_", "q6_", "q8_"),
)


@dataclass(frozen=True)
class Reply:
    """Checked values and what they cost.

    Attributes:
        values: Vectors of shape `(n, size)` or scores of shape `(n,)`.
        tokens: Tokens that were charged; 0 where the server does not say.
    """

    values: Rows
    tokens: int


@dataclass
class ExaminedServer:
    """One server under examination.

    Attributes:
        connection: To the server.
        model: The name requests call the model by.
        info: What the server was recognised as.
        report: What else it says about itself.
        profile: What the model wants, where it is a known one.
    """

    connection: Connection
    model: str
    info: ServerInfo = field(default_factory=ServerInfo)
    report: SelfReport = field(default_factory=SelfReport)
    profile: ModelProfile | RerankProfile | None = None
    _paths: dict[str, str] = field(default_factory=dict)

    @property
    def root_url(self) -> str:
        """The server's address without `/v1`."""
        return root_of(self.connection.base_url)

    @property
    def dialect(self) -> Dialect:
        """How the server is spoken to, and what is known to mend it."""
        return DIALECTS[self.info.kind]

    @property
    def folder(self) -> Path | None:
        """The model's folder, where that is on this machine."""
        return folder_of(self.report.model_path)

    # --- asking --------------------------------------------------------------------------------------------------

    def ask(self, path: str, body: dict[str, Any] | None = None, *, optional: bool = False) -> Any:
        """Send one request and return the parsed reply.

        Raises:
            ServerError: If there is none that can be read.
        """

        def asking() -> Flow[Any]:
            return parse_json((yield Request(path, body, optional)), self.connection.url(path))

        (reply,) = self.connection.run([asking()])
        return reply

    @property
    def embeddings_path(self) -> str:
        """Where the server embeds, as far as is known."""
        return self._paths.get("embed") or self._embeds.paths(self.connection.base_url)[0]

    @property
    def rerank_path(self) -> str:
        """Where the server reranks, as far as is known."""
        return self._paths.get("rerank") or self._reranks.paths(self.connection.base_url, self.info)[0]

    @property
    def _embeds(self) -> Embeds:
        return self.dialect.embeds or cast("Embeds", UNKNOWN.embeds)

    @property
    def _reranks(self) -> Reranks:
        return self.dialect.reranks or cast("Reranks", UNKNOWN.reranks)

    def embed_body(self, inputs: Inputs, encoding_format: str = "float") -> dict[str, Any]:
        """Return a request for vectors."""
        texts = [inputs] if isinstance(inputs, str) else inputs
        # Ids where the API says strings: only in trials, and only the server's own.
        body = self._embeds.body(self.model, cast("Sequence[str]", texts), encoding_format, None)
        return body | {"input": inputs} if isinstance(inputs, str) and "input" in body else body

    def rerank_body(self, query: str, documents: Sequence[str], instruction: str | None = None) -> dict[str, Any]:
        """Return a request for scores."""
        return self._reranks.body(self.model, query, documents, instruction)

    def embed(self, inputs: Inputs, **fields: Any) -> Reply:
        """Embed texts, or lists of token ids taken from this server's own tokenizer, as the server does.

        Raises:
            ServerError: If the reply cannot be read as one vector for each.
        """
        limit = min(self.info.max_batch or _BATCH_SIZE, self._embeds.max_batch or _BATCH_SIZE)
        if not isinstance(inputs, str) and len(inputs) > limit:
            parts = [self.embed(inputs[start : start + limit], **fields) for start in range(0, len(inputs), limit)]
            return Reply(np.concatenate([part.values for part in parts]), sum(part.tokens for part in parts))
        paths = self._embeds.paths(self.connection.base_url)
        reply = self._ask_at_first_path("embed", paths, self.embed_body(inputs) | fields)
        count = 1 if isinstance(inputs, str) else len(inputs)
        rows = read_embeddings(reply, count, self.connection.url(self.embeddings_path), None)
        return Reply(rows.astype(np.float64), tokens_used(reply))

    def rerank(self, query: str, documents: Sequence[str], instruction: str | None = None) -> Reply:
        """Score documents as the server does, in the order given.

        Raises:
            ServerError: If the reply cannot be read as one score for each.
        """
        paths = self._reranks.paths(self.connection.base_url, self.info)
        reply = self._ask_at_first_path("rerank", paths, self.rerank_body(query, documents, instruction))
        return Reply(read_scores(reply, len(documents), self.connection.url(self.rerank_path)), tokens_used(reply))

    def _ask_at_first_path(self, task: Task, paths: Sequence[str], body: dict[str, Any]) -> Any:
        """Ask where this was answered before, or else at the first of the paths that exists."""
        candidates = [self._paths[task]] if task in self._paths else paths
        for path in candidates[:-1]:
            try:
                reply = self.ask(path, body)
            except EndpointNotFoundError:
                continue
            self._paths[task] = path
            return reply
        reply = self.ask(candidates[-1], body)
        self._paths[task] = candidates[-1]
        return reply

    def tokens_of(self, text: str, *, special: bool = True) -> list[int] | None:
        """Return a text's tokens as the server's own tokenizer gives them; None where it has no such route.

        Args:
            text: The text.
            special: Whether with the tokens that the tokenizer adds.
        """
        tokenize = self.dialect.examination.tokenize
        if tokenize is None:
            return None
        body = {"model": self.model, tokenize.text_field: text, tokenize.special_field: special}
        try:
            tokens = tokenize.read(self.ask(tokenize.path(self.connection.base_url), body, optional=True))
        except ServerError:
            return None
        usable = isinstance(tokens, list) and all(isinstance(token, int) for token in tokens)
        return tokens if usable else None

    # --- what follows from what is known --------------------------------------------------------------------------

    @property
    def context(self) -> int | None:
        """Longest input in tokens."""
        return self.info.max_tokens or (self.profile.max_tokens if self.profile else None)

    @property
    def name(self) -> str:
        """The model, for messages."""
        return self.profile.name if self.profile else self.info.model or self.model

    @cached_property
    def end_tokens(self) -> list[int] | None:
        """Tokens of `<|endoftext|>` with what the tokenizer adds; None where the server does not tell."""
        return self.tokens_of(END)

    @property
    def appends_end(self) -> bool:
        """Whether the tokenizer is known to append `<|endoftext|>`, as Qwen3-Embedding's does and few others."""
        tokens = self.end_tokens or []
        return len(tokens) == _ITSELF_AND_END and tokens[0] == tokens[1]

    @cached_property
    def is_qwen_tokenizer(self) -> bool:
        """Whether `<|endoftext|>` and `<|im_start|>` are single tokens, as in all Qwen models."""
        return all(len(self.tokens_of(text, special=False) or ()) == 1 for text in (END, _CHAT))

    @property
    def is_quantized(self) -> bool:
        """Whether the weights are a quantized copy, by the server's word or the model's name."""
        names = " ".join(filter(None, (self.info.model, self.model, self.report.served_name))).lower()
        return bool(self.report.quantization) or any(mark in names for mark in _QUANTIZATIONS)

    @property
    def is_causal(self) -> bool | None:
        """Whether the architecture is a causal language model; None where it is not known."""
        if isinstance(self.profile, ModelProfile) and self.profile.pooling is not None:
            return self.profile.pooling == "last"
        return any("CausalLM" in name for name in self.report.architectures) if self.report.architectures else None

    @property
    def is_qwen_embedding(self) -> bool:
        """Whether this is, or by all signs should be, a Qwen3-Embedding."""
        if isinstance(self.profile, ModelProfile):
            return self.profile.architecture == "qwen3"
        return "Qwen3ForCausalLM" in self.report.architectures or self.appends_end

    @property
    def presumed_profile(self) -> ModelProfile | None:
        """What a model that is not known here wants, if it is a Qwen3-Embedding by all signs."""
        if self.profile is not None or not self.is_qwen_embedding:
            return None
        known = cast("ModelProfile", profile_for("Qwen/Qwen3-Embedding-0.6B"))
        return replace(known, name=self.name, dimensions=None, max_tokens=self.context)


def unit(rows: Rows) -> Rows:
    """Return rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0), np.float64)


def cosines(left: Rows, right: Rows) -> Rows:
    """Return the cosine of each row with the row at the same place."""
    return np.asarray(np.einsum("ij,ij->i", unit(left), unit(right)), np.float64)
