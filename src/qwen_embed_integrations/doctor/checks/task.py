"""Does the server embed or rerank, and was it started for that?"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from qwen_embed_integrations.doctor import remedies
from qwen_embed_integrations.doctor.checks.reach import unanswered
from qwen_embed_integrations.doctor.data import samples
from qwen_embed_integrations.doctor.findings import Finding, ok, wrong
from qwen_embed_integrations.errors import EndpointNotFoundError, RequestRefusedError, ServerError, WrongServerError
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile
from qwen_embed_integrations.server_info import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.doctor.server import ExaminedServer
    from qwen_embed_integrations.served.dialects.examination import GeneratorRefusal

TASKS: tuple[Task, ...] = get_args(Task)


def find_task(server: ExaminedServer, stated: Task | None) -> Iterator[Finding | Task]:
    """Find out whether the server embeds or reranks, by asking it to.

    Args:
        server: The server.
        stated: What the caller says it does; None finds out.

    Yields:
        Findings, then the task, if the server can do one.
    """
    expected = stated or _expected_task(server)
    last_error: ServerError | None = None
    for task in (expected,) if expected else TASKS:
        try:
            _try(server, task)
        except ServerError as error:
            last_error = error
            continue
        misfit = _misfit(server, task)
        if misfit is not None:
            yield misfit
            return
        yield ok("task", "The server embeds." if task == "embed" else "The server reranks.", task=task)
        yield task
        return
    if last_error is not None:
        yield _refusal(server, last_error, expected, stated=stated)


def _expected_task(server: ExaminedServer) -> Task | None:
    if server.info.task in TASKS:
        return server.info.task
    if server.profile is not None:
        return "rerank" if isinstance(server.profile, RerankProfile) else "embed"
    return None


def _try(server: ExaminedServer, task: Task) -> None:
    if task == "embed":
        server.embed(samples.DISTINCT[0])
    else:
        server.rerank(samples.QUESTIONS[0], samples.ANSWERS[:2])


def _misfit(server: ExaminedServer, task: Task) -> Finding | None:
    """Return what is wrong with a server that answers, though with a model of another kind."""
    if task == "embed" and isinstance(server.profile, RerankProfile):
        return wrong(
            "reranker-as-embedder",
            f"{server.profile.name} is a reranker, but the server was started to embed with it.",
            cause=server.dialect.causes.started_to_embed,
            mend=remedies.start_reranker(server),
        )
    # A causal model that embeds has no head to score with; cross-encoders of old versions look like embedding models.
    embeds = server.profile is None and server.info.task == "embed" and server.is_causal
    if task == "rerank" and embeds:
        return wrong(
            "embedder-as-reranker",
            f"The server was started to embed with {server.name}, and answers rerank requests with it all the same.",
            cause="Such scores are cosines at best; a reranker reads query and document together.",
            mend=f"Leave --task out to examine its vectors. If it is a reranker:\n{remedies.start_reranker(server)}",
        )
    if task == "rerank" and isinstance(server.profile, ModelProfile):
        return wrong(
            "embedder-as-reranker",
            f"{server.profile.name} is an embedding model, but the server answers rerank requests with it.",
            cause="Such scores are cosines at best; a reranker reads query and document together.",
            mend=f"qwen-embed serve {server.profile.name.replace('Embedding', 'Reranker')}"
            if server.profile.architecture == "qwen3"
            else "qwen-embed models lists rerankers.",
        )
    return None


def _refusal(server: ExaminedServer, error: ServerError, task: Task | None, *, stated: Task | None) -> Finding:
    """Return what it means that the server does not do a task."""
    message, dialect = str(error), server.dialect
    if task == "embed" and isinstance(server.profile, RerankProfile):
        return wrong(
            "wrong-task",
            f"{server.name} is a reranker, and the server does not embed with it: {message}",
            cause="--task or --model says otherwise than the server.",
            mend="Leave --task out, or say in --model what the server runs.",
        )
    generator = dialect.examination.generator_refusal
    if generator is not None and server.report.generates and generator.message in message:
        return _generates(server, generator, task, stated=stated)
    if isinstance(error, EndpointNotFoundError) and dialect.causes.missing_route:
        return wrong(
            "not-pooling",
            f"{dialect.title} runs {server.name}, and mounts no route to {'rerank' if task == 'rerank' else 'embed'}.",
            cause=dialect.causes.missing_route,
            mend=f"To rerank:\n{remedies.start_reranker(server)}\nTo embed:\n{remedies.start_embedder(server)}",
        )
    if isinstance(error, WrongServerError):
        return _runs_something_else(server, message, task)
    if isinstance(error, RequestRefusedError) and task == "rerank" and dialect.remedies.restart_if_rerank_refused:
        return wrong("refused", message, mend=remedies.start_reranker(server))
    return unanswered(error)


def _runs_something_else(server: ExaminedServer, message: str, task: Task | None) -> Finding:
    if not server.dialect.is_known:
        return wrong(
            "wrong-task",
            message,
            cause="Something else answers at this URL, or a server that was not started for this.",
            mend="Check the URL: it must be that of an embedding or rerank server.",
        )
    return wrong(
        "wrong-task",
        message,
        cause="The server's model is of another kind, or it was not started for this.",
        mend=remedies.start_embedder(server) if task == "embed" else remedies.start_reranker(server),
    )


def _generates(server: ExaminedServer, refusal: GeneratorRefusal, task: Task | None, *, stated: Task | None) -> Finding:
    """Return what it means that a server refuses which runs the model as a text generator."""
    # Its own tokenizer tells an embedding model: a reranker's prompt ends where its answer begins.
    unstated = stated is None and server.profile is None
    if task == "embed" or isinstance(server.profile, ModelProfile) or (unstated and server.appends_end):
        return wrong(
            "not-embedding",
            f"{server.dialect.title} runs {server.name} as a text generator and refuses to embed.",
            cause=refusal.embedder_cause,
            mend=remedies.start_embedder(server),
        )
    if isinstance(server.profile, RerankProfile):
        return wrong(
            "template", refusal.reranker_found, cause=refusal.reranker_cause, mend=remedies.start_reranker(server)
        )
    return wrong(
        "template",
        refusal.reranker_found,
        cause=f"{refusal.reranker_cause} Or it is an embedding model. {refusal.embedder_cause}",
        mend=f"{remedies.start_reranker(server)}\nFor an embedding model:\n{remedies.start_embedder(server)}",
    )
