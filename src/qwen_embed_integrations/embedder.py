"""Embedder: role, instruction and dimensions in front of an engine; checked unit vectors out of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, overload

from qwen_embed_integrations import vectors
from qwen_embed_integrations.callers import warn_caller
from qwen_embed_integrations.collector import Collector, ListCollector
from qwen_embed_integrations.engine import OverEngine
from qwen_embed_integrations.errors import (
    InvalidInputError,
    ModelOutputError,
    UnknownModelError,
    UnknownModelWarning,
    WrongServerError,
)
from qwen_embed_integrations.extras import require_local
from qwen_embed_integrations.inputs import check_instruction, check_name, check_texts
from qwen_embed_integrations.options import (
    LocalKeywords,
    LocalOptions,
    ServedEmbeddingKeywords,
    ServedOptions,
    check_keywords,
)
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator
    from pathlib import Path

    from typing_extensions import Unpack

    from qwen_embed_integrations.engine import Batch, EmbeddingEngine, SharedEngine
    from qwen_embed_integrations.profiles import Role
    from qwen_embed_integrations.vectors import Float32

AnyCollector = TypeVar("AnyCollector", bound=Collector)


class Embedder(OverEngine["EmbeddingEngine"]):
    """Embeds queries and documents the way a model's authors meant.

    Make one with `Embedder.served` or `Embedder.local`. It is safe to share between threads and event loops, and is
    a context manager, sync and async.

    Attributes:
        profile: What the model wants.
        instruction: The instruction queries get where the caller gives none; None leaves it to the profile.
    """

    def __init__(
        self,
        engine: EmbeddingEngine | SharedEngine[EmbeddingEngine],
        profile: ModelProfile,
        *,
        dimensions: int | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> None:
        profile.check_dimensions(dimensions)
        check_instruction(instruction)
        profile.prefix("query", instruction)
        super().__init__(engine)
        self.profile = profile
        self.instruction = instruction
        self._dimensions = dimensions
        self._show_progress = show_progress

    @classmethod
    def served(
        cls,
        model: str,
        *,
        base_url: str,
        api_key: str | None = None,
        profile: ModelProfile | None = None,
        dimensions: int | None = None,
        instruction: str | None = None,
        **options: Unpack[ServedEmbeddingKeywords],
    ) -> Embedder:
        """Embed through a server that speaks OpenAI's embeddings API.

        Args:
            model: Name the server knows the model by; also picks the profile.
            base_url: Address up to and including `/v1`; `/v1` is added to a bare host.
            api_key: Sent as a bearer token.
            profile: What the model wants, where its name does not tell.
            dimensions: Size of the vectors; None for the model's own.
            instruction: Replaces the profile's default instruction for queries.
            **options: See `ServedOptions`.

        Returns:
            An embedder; nothing is sent before its first use.

        Raises:
            InvalidInputError: If an argument cannot be used.
            WrongServerError: If `model` is a reranker.
        """
        from qwen_embed_integrations.served.embedding import ServedEmbeddingEngine  # noqa: PLC0415 loads openai

        check_keywords(cls.served, options, ServedEmbeddingKeywords)
        check_name(model, parameter="model")
        if isinstance(profile, RerankProfile):
            raise InvalidInputError("`profile` is a reranker's; pass a ModelProfile.", parameter="profile")
        known = profile or _served_profile(model)
        chosen = ServedOptions(base_url=base_url, api_key=api_key, **options)
        engine = ServedEmbeddingEngine(model, known, chosen, dimensions=dimensions if known.sends_dimensions else None)
        return cls(engine, known, dimensions=dimensions, instruction=instruction, show_progress=chosen.show_progress)

    @classmethod
    def local(
        cls,
        model: str | Path,
        *,
        profile: ModelProfile | None = None,
        dimensions: int | None = None,
        instruction: str | None = None,
        **options: Unpack[LocalKeywords],
    ) -> Embedder:
        """Embed in this process.

        Args:
            model: A folder in sentence-transformers layout, or a hub id.
            profile: What the model wants, where neither its name nor its files tell.
            dimensions: Size of the vectors; None for the model's own.
            instruction: Replaces the profile's default instruction for queries.
            **options: See `LocalOptions`.

        Returns:
            An embedder with the model loaded.

        Raises:
            MissingExtraError: If torch or transformers is not installed.
            ModelLoadError: If the checkpoint is missing, incomplete or unsupported.
            InvalidInputError: If an argument cannot be used.
        """
        check_keywords(cls.local, options, LocalKeywords)
        require_local()
        from qwen_embed_integrations.local.embedding import LocalEmbeddingEngine  # noqa: PLC0415 loads torch

        chosen = LocalOptions(**options)
        engine = LocalEmbeddingEngine.load(model, profile, chosen)
        return cls(
            engine,
            engine.profile,
            dimensions=dimensions,
            instruction=instruction,
            show_progress=chosen.show_progress,
        )

    def with_options(
        self, *, dimensions: int | None = None, instruction: str | None = None, show_progress: bool = False
    ) -> Embedder:
        """Make another embedder over the same loaded model or connection.

        It takes no memory of its own. What both use is closed with the last of them.

        Args:
            dimensions: Size of the vectors; None for the model's own.
            instruction: Replaces the profile's default instruction for queries.
            show_progress: Show a progress bar (needs tqdm).

        Returns:
            An embedder with these options.

        Raises:
            InvalidInputError: If an argument cannot be used, or the server cuts the vectors itself and was asked for
                another size.
        """
        if self.profile.sends_dimensions and dimensions != self._dimensions:
            raise InvalidInputError(
                f"`dimensions` is {dimensions}, but the server was asked for {self._dimensions}. Make another embedder "
                "with Embedder.served.",
                parameter="dimensions",
            )
        return type(self)(
            self._shared, self.profile, dimensions=dimensions, instruction=instruction, show_progress=show_progress
        )

    @property
    def dimensions(self) -> int | None:
        """Size of the vectors; None for a served model without a profile before its first reply."""
        return self._dimensions or self.profile.dimensions or self._engine.size

    @property
    def fingerprint(self) -> str:
        """Short hash of what shapes the vectors: model, revision, pooling, prompts, dimensions.

        Not of the precision: vectors in bfloat16 and in float32 are meant to be searched together.
        """
        return vectors.fingerprint(
            **self._engine.identity,
            pooling=self.profile.pooling,
            query=self.profile.prefix("query", self.instruction),
            document=self.profile.prefix("document"),
            dimensions=self._dimensions or self.profile.dimensions,
        )

    def describe(self) -> dict[str, str | int | None]:
        """Tell what embeds, for a log or a report.

        Returns:
            `model`, `dimensions`, `instruction` (of queries) and `fingerprint`. Local models add device, dtype, what
            computes and how many tokens are read; served ones what is known of the server by now. Nothing is sent.
        """
        instruction = self.profile.default_instruction if self.instruction is None else self.instruction
        return {
            "model": self.profile.name,
            **self._engine.describe(),
            "dimensions": self.dimensions,
            "instruction": instruction,
            "fingerprint": self.fingerprint,
        }

    def embed_queries(self, texts: Iterable[str], *, instruction: str | None = None) -> Float32:
        """Embed texts that search.

        Args:
            texts: The queries.
            instruction: Replaces this object's instruction for this call.

        Returns:
            Unit vectors of shape `(n, dimensions)`, in order.

        Raises:
            InvalidInputError: If a text is blank or no string, or the model takes no instruction.
            QwenEmbedError: If the engine fails; `positions` and `completed` say how far it came.
        """
        return self._embed(texts, "query", instruction)

    def embed_documents(self, texts: Iterable[str]) -> Float32:
        """Embed texts that are searched; see `embed_queries`."""
        return self._embed(texts, "document", None)

    async def aembed_queries(self, texts: Iterable[str], *, instruction: str | None = None) -> Float32:
        """Embed texts that search; see `embed_queries`."""
        return await self._aembed(texts, "query", instruction)

    async def aembed_documents(self, texts: Iterable[str]) -> Float32:
        """Embed texts that are searched; see `embed_queries`."""
        return await self._aembed(texts, "document", None)

    def embed_lists(self, texts: Iterable[str], role: Role, *, instruction: str | None = None) -> list[list[float]]:
        """Embed texts for a framework that wants lists, made while later replies are still on their way.

        Args:
            texts: The texts.
            role: `"query"` or `"document"`.
            instruction: Replaces this object's instruction for this call; for queries only.

        Returns:
            For each text a list of `dimensions` floats; otherwise as `embed_queries`.
        """
        prompts, collector = self._prepare(ListCollector, texts, role, instruction)
        self._gather(prompts, collector)
        return collector.lists()

    async def aembed_lists(
        self, texts: Iterable[str], role: Role, *, instruction: str | None = None
    ) -> list[list[float]]:
        """Embed texts for a framework that wants lists; see `embed_lists`."""
        prompts, collector = self._prepare(ListCollector, texts, role, instruction)
        await self._agather(prompts, collector)
        return collector.lists()

    def embed_batches(self, texts: Iterable[str], role: Role, *, instruction: str | None = None) -> Iterator[Batch]:
        """Embed texts for code that computes with vectors as they come.

        Args:
            texts: The texts.
            role: `"query"` or `"document"`.
            instruction: Replaces this object's instruction for this call; for queries only.

        Yields:
            Parts of the answer, in any order, with unit vectors; a text that failed alone is a `failure` in one.

        Raises:
            QwenEmbedError: As `embed_queries` does.
        """
        for batch in self._engine.embed(self._prompts(texts, role, instruction)):
            self._count(batch)
            yield replace(batch, values=self._finish(batch.values)) if len(batch.positions) else batch

    async def aembed_batches(
        self, texts: Iterable[str], role: Role, *, instruction: str | None = None
    ) -> AsyncGenerator[Batch, None]:
        """Embed texts for code that computes with vectors as they come; see `embed_batches`."""
        async with aclosing(self._engine.aembed(self._prompts(texts, role, instruction))) as batches:
            async for batch in batches:
                self._count(batch)
                yield replace(batch, values=self._finish(batch.values)) if len(batch.positions) else batch

    def _embed(self, texts: Iterable[str], role: Role, instruction: str | None) -> Float32:
        prompts, collector = self._prepare(Collector, texts, role, instruction)
        self._gather(prompts, collector)
        return collector.result((0, self.dimensions or 0))

    async def _aembed(self, texts: Iterable[str], role: Role, instruction: str | None) -> Float32:
        prompts, collector = self._prepare(Collector, texts, role, instruction)
        await self._agather(prompts, collector)
        return collector.result((0, self.dimensions or 0))

    def _prepare(
        self, kind: type[AnyCollector], texts: Iterable[str], role: Role, instruction: str | None
    ) -> tuple[Sequence[str], AnyCollector]:
        prompts = self._prompts(texts, role, instruction)
        return prompts, kind(len(prompts), finish=self._finish, parameter="texts", show_progress=self._show_progress)

    def _prompts(self, texts: Iterable[str], role: Role, instruction: str | None) -> Sequence[str]:
        check_instruction(instruction)
        if role not in ("query", "document"):
            raise InvalidInputError(f"`role` is {role!r}; it must be 'query' or 'document'.", parameter="role")
        prefix = self.profile.prefix(role, self.instruction if instruction is None else instruction)
        checked = check_texts(texts, parameter="texts")
        return _Prompted(prefix, checked) if prefix else checked

    def _gather(self, prompts: Sequence[str], collector: Collector) -> None:
        with collector.gathering():
            for batch in self._engine.embed(prompts):
                self._count(batch)
                collector.add(batch)

    async def _agather(self, prompts: Sequence[str], collector: Collector) -> None:
        with collector.gathering():
            async with aclosing(self._engine.aembed(prompts)) as batches:
                async for batch in batches:
                    self._count(batch)
                    collector.add(batch)

    def _finish(self, rows: Float32) -> Float32:
        size = self._dimensions
        if size is not None and rows.shape[1] < size:
            raise InvalidInputError(
                f"`dimensions` is {size}, but {self.profile.name} gives vectors of {rows.shape[1]}. Ask for less.",
                parameter="dimensions",
            )
        finished = vectors.cut(rows, size)
        if len(vectors.unusable(finished)):
            raise ModelOutputError(f"The first {size} values of a vector are all zero: no direction is left of it.")
        return finished

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.profile.name!r}, dimensions={self.dimensions})"


class _Prompted(Sequence[str]):
    """Texts with their prompt, joined when they are read: joined at once, they would be in memory twice."""

    def __init__(self, prefix: str, texts: Sequence[str]) -> None:
        self._prefix = prefix
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self._prefix + text for text in self._texts[position]]
        return self._prefix + self._texts[position]


def _served_profile(model: str) -> ModelProfile:
    try:
        profile = profile_for(model)
    except UnknownModelError as unknown:
        warn_caller(
            f"{unknown} Texts are sent without a prompt and vectors are not checked for size. "
            "If the model wants a query prompt, pass `profile=ModelProfile(...)`.",
            UnknownModelWarning,
        )
        return ModelProfile(name=model, min_dimensions=1)
    if isinstance(profile, RerankProfile):
        raise WrongServerError(f"`model` {model!r} is a reranker; use Reranker.")
    return profile
