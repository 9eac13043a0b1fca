"""Reranker: a query and documents in front of an engine; checked scores, best first, out of it."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

from qwen_embed_integrations.collector import Collector
from qwen_embed_integrations.embedder import Embedder
from qwen_embed_integrations.engine import OverEngine
from qwen_embed_integrations.errors import InvalidInputError, UnknownModelError, WrongServerError
from qwen_embed_integrations.extras import require_local
from qwen_embed_integrations.inputs import check_instruction, check_name, check_texts, check_whole_number
from qwen_embed_integrations.options import LocalKeywords, LocalOptions, ServedKeywords, ServedOptions, check_keywords
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for
from qwen_embed_integrations.rerank_by_vectors import VectorRerankEngine

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from typing_extensions import Unpack

    from qwen_embed_integrations.engine import Batch, RerankEngine, SharedEngine
    from qwen_embed_integrations.vectors import Floats


class RankedDocument(NamedTuple):
    """Where a document stood in the list that was given, and how well it fits the query.

    Attributes:
        index: Position in the list.
        score: Relevance; higher is better. From 0 to 1 for the models that have a profile, and a cosine from -1 to 1
            over an embedder.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a pair
    score: float


class Reranker(OverEngine["RerankEngine"]):
    """Orders documents by how well they answer a query.

    Make one with `Reranker.served`, `Reranker.local` or `Reranker.over`. It is safe to share between threads and event
    loops, and is a context manager, sync and async.

    Attributes:
        profile: What the model wants.
        instruction: The instruction used where the caller gives none; None leaves it to the profile.
    """

    def __init__(
        self,
        engine: RerankEngine | SharedEngine[RerankEngine],
        profile: RerankProfile,
        *,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> None:
        _choose(profile, instruction)
        super().__init__(engine)
        self.profile = profile
        self.instruction = instruction
        self._show_progress = show_progress

    @classmethod
    def served(
        cls,
        model: str,
        *,
        base_url: str,
        api_key: str | None = None,
        profile: RerankProfile | None = None,
        instruction: str | None = None,
        **options: Unpack[ServedKeywords],
    ) -> Reranker:
        """Rerank through a server.

        Args:
            model: Name the server knows the model by; also picks the profile.
            base_url: Address up to and including `/v1`; `/v1` is added to a bare host.
            api_key: Sent as a bearer token.
            profile: What the model wants, where its name does not tell.
            instruction: Replaces the profile's default instruction.
            **options: See `ServedOptions`.

        Returns:
            A reranker; nothing is sent before its first use.

        Raises:
            InvalidInputError: If an argument cannot be used.
            WrongServerError: If `model` is an embedding model.
        """
        from qwen_embed_integrations.served.rerank import ServedRerankEngine  # noqa: PLC0415 loads openai

        check_keywords(cls.served, options, ServedKeywords)
        check_name(model, parameter="model")
        _check_profile(profile)
        known = profile or _served_profile(model)
        chosen = ServedOptions(base_url=base_url, api_key=api_key, **options)
        engine = ServedRerankEngine(model, chosen, default_instruction=known.default_instruction)
        return cls(engine, known, instruction=instruction, show_progress=chosen.show_progress)

    @classmethod
    def local(
        cls,
        model: str | Path,
        *,
        profile: RerankProfile | None = None,
        instruction: str | None = None,
        **options: Unpack[LocalKeywords],
    ) -> Reranker:
        """Rerank in this process.

        Args:
            model: A folder or a hub id.
            profile: What the model wants, where neither its name nor its files tell.
            instruction: Replaces the profile's default instruction.
            **options: See `LocalOptions`.

        Returns:
            A reranker with the model loaded.

        Raises:
            MissingExtraError: If torch or transformers is not installed.
            ModelLoadError: If the checkpoint is missing, incomplete or unsupported.
        """
        check_keywords(cls.local, options, LocalKeywords)
        _check_profile(profile)
        require_local()
        from qwen_embed_integrations.local.rerank import LocalRerankEngine  # noqa: PLC0415 loads torch

        chosen = LocalOptions(**options)
        engine = LocalRerankEngine.load(model, profile, chosen)
        return cls(engine, engine.profile, instruction=instruction, show_progress=chosen.show_progress)

    @classmethod
    def over(cls, embedder: Embedder, *, instruction: str | None = None, show_progress: bool = False) -> Reranker:
        """Rerank with an embedding model: by the cosine of the query's vector and each document's.

        A second stage for the candidates of a smaller model, of fewer dimensions, or of words alone. No text is read
        together with another, so a reranker of the same size does better.

        Args:
            embedder: Embeds the query as a query and the documents as documents, again in each call. It stays the
                caller's: closing the reranker does not close it.
            instruction: Replaces the embedder's instruction for queries.
            show_progress: Show a progress bar (needs tqdm).

        Returns:
            A reranker whose scores lie between -1 and 1.

        Raises:
            InvalidInputError: If the model takes no instruction and one is given.
        """
        if not isinstance(embedder, Embedder):
            raise InvalidInputError(
                f"`embedder` is {type(embedder).__name__}; pass Embedder.local(...) or Embedder.served(...).",
                parameter="embedder",
            )
        check_instruction(instruction)
        embedder.profile.prefix("query", instruction)
        # Whether it takes an instruction, and which by default, is for the embedder to say.
        profile = RerankProfile(
            name=embedder.profile.name,
            method="cosine",
            body="{instruction}{query}{document}",
            max_tokens=embedder.profile.max_tokens,
        )
        return cls(VectorRerankEngine(embedder), profile, instruction=instruction, show_progress=show_progress)

    def with_options(self, *, instruction: str | None = None, show_progress: bool = False) -> Reranker:
        """Make another reranker over the same loaded model or connection.

        It takes no memory of its own. What both use is closed with the last of them.

        Args:
            instruction: Replaces the profile's default instruction.
            show_progress: Show a progress bar (needs tqdm).

        Returns:
            A reranker with these options.

        Raises:
            InvalidInputError: If the model takes no instruction.
        """
        return type(self)(self._shared, self.profile, instruction=instruction, show_progress=show_progress)

    def describe(self) -> dict[str, str | int | None]:
        """Tell what reranks, for a log or a report.

        Returns:
            `model` and `instruction`, and what `Embedder.describe` tells of local models and servers. Over an embedder,
            all that the embedder tells.
        """
        described = self._engine.describe()
        instruction = self.profile.default_instruction if self.instruction is None else self.instruction
        known = {"model": self.profile.name, "instruction": None, **described}
        # An embedder may have one where this has none.
        return known if instruction is None else {**known, "instruction": instruction}

    def rerank(
        self, query: str, documents: Iterable[str], *, top_n: int | None = None, instruction: str | None = None
    ) -> list[RankedDocument]:
        """Score documents against a query.

        Args:
            query: What is searched for.
            documents: Texts to order.
            top_n: How many to return; None returns all.
            instruction: Replaces this object's instruction for this call.

        Returns:
            The best documents, best first; equal scores keep the given order.

        Raises:
            InvalidInputError: If a text is blank or no string, `top_n` is below 1, or the model takes no instruction.
            QwenEmbedError: If the engine fails; `positions` and `completed` say how far it came.
        """
        texts, chosen, collector = self._prepare(query, documents, top_n, instruction)
        with collector.gathering():
            for batch in self._engine.rerank(query, texts, chosen):
                self._count(batch)
                collector.add(batch)
        return _best(collector.result((0,)), top_n)

    async def arerank(
        self, query: str, documents: Iterable[str], *, top_n: int | None = None, instruction: str | None = None
    ) -> list[RankedDocument]:
        """Score documents against a query; see `rerank`."""
        texts, chosen, collector = self._prepare(query, documents, top_n, instruction)
        with collector.gathering():
            async with aclosing(self._engine.arerank(query, texts, chosen)) as batches:
                async for batch in batches:
                    self._count(batch)
                    collector.add(batch)
        return _best(collector.result((0,)), top_n)

    def _prepare(
        self, query: str, documents: Iterable[str], top_n: int | None, instruction: str | None
    ) -> tuple[list[str], str | None, Collector]:
        check_texts([query], parameter="query")
        texts = check_texts(documents, parameter="documents")
        if top_n is not None:
            check_whole_number(top_n, parameter="top_n", minimum=1)
        chosen = _choose(self.profile, self.instruction if instruction is None else instruction)
        collector = Collector(
            len(texts),
            finish=lambda scores: scores,
            parameter="documents",
            show_progress=self._show_progress,
            unit="document",
        )
        return texts, chosen, collector

    def _count(self, batch: Batch) -> None:
        # An embedder that reranks has counted already.
        if not isinstance(self._engine, VectorRerankEngine):
            super()._count(batch)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.profile.name!r})"


def _check_profile(profile: object) -> None:
    if isinstance(profile, ModelProfile) or (isinstance(profile, RerankProfile) and profile.method == "cosine"):
        raise InvalidInputError(
            "`profile` is an embedding model's; pass a RerankProfile, or rerank by its vectors with Reranker.over.",
            parameter="profile",
        )


def _choose(profile: RerankProfile, instruction: str | None) -> str | None:
    check_instruction(instruction)
    if instruction is None:
        return profile.default_instruction
    if not profile.takes_instruction:
        raise InvalidInputError(
            f"`instruction` was given, but {profile.name} takes none. Leave it out, or pass a `profile` whose `body` "
            "holds {instruction}.",
            parameter="instruction",
        )
    return instruction


def _best(scores: Floats, top_n: int | None) -> list[RankedDocument]:
    order = (-scores).argsort(kind="stable")[:top_n]
    return [RankedDocument(int(index), float(scores[index])) for index in order]


def _served_profile(model: str) -> RerankProfile:
    try:
        profile = profile_for(model)
    except UnknownModelError:
        # The server knows its own template; an instruction is passed on for it to use.
        return RerankProfile(name=model, body="{instruction}{query}{document}")
    if isinstance(profile, ModelProfile):
        raise WrongServerError(
            f"`model` {model!r} is an embedding model; use Embedder, or Reranker.over(Embedder.served(...)) to "
            "rerank by its vectors."
        )
    return profile
