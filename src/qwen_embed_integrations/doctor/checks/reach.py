"""Does the server answer, what is it, and is it started for the task?"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

from qwen_embed_integrations.doctor import remedies
from qwen_embed_integrations.doctor.data import samples
from qwen_embed_integrations.doctor.findings import Finding, note, ok, warning, wrong
from qwen_embed_integrations.doctor.self_report import gather
from qwen_embed_integrations.errors import (
    BadReplyError,
    EndpointNotFoundError,
    QwenEmbedError,
    RequestRefusedError,
    ServerAuthenticationError,
    ServerBusyError,
    ServerConnectionError,
    ServerError,
    UnknownModelError,
    WrongServerError,
)
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for
from qwen_embed_integrations.served.dialects import DIALECTS, by_host
from qwen_embed_integrations.served.probe import probe
from qwen_embed_integrations.served.questions import Questions
from qwen_embed_integrations.server_info import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_embed_integrations.doctor.server import Examination
    from qwen_embed_integrations.server_info import DialectName

TASKS: tuple[Task, ...] = get_args(Task)

_NAMELESS = "model"  # what requests call a model that nobody names
_NO_EMBEDDING_MODEL = "does not appear to be an embedding model"


def recognise(exam: Examination, model: str | None, dialect: str) -> Iterator[Finding]:
    """Find out what the server is and runs, and note it in the examination.

    Args:
        exam: Filled in here.
        model: What the caller says the model is.
        dialect: What the caller says the server is, or `"auto"`.
    """
    # Patient, unlike the questions of the probe: a server that is busy or loading says so here.
    try:
        exam.ask(f"{exam.root_url}/v1/models")
    except (ServerConnectionError, ServerAuthenticationError, ServerBusyError) as error:
        yield unanswered(error)
        return
    except ServerError:
        pass  # not every server has the route
    hosted = by_host(exam.connection.base_url)
    named = DIALECTS[cast("DialectName", dialect)] if dialect != "auto" else None
    if hosted is not None and named is None:
        exam.server = hosted
    else:
        try:
            (exam.server,) = exam.connection.run([probe(exam.root_url, model=model, named=named)])
        except ServerError as error:
            yield warning("server", f"What the server is could not be found out: {error}")
        (exam.facts,) = exam.connection.run([gather(Questions(exam.root_url), exam.kind)])
    exam.model = exam.facts.served_name or model or exam.server.model or _NAMELESS
    said = _profile(model)
    found = _profile(exam.facts.root) or _profile(exam.server.model) or _profile(exam.facts.served_name)
    exam.profile = said or found
    yield from _introduce(exam, said, found)
    yield from _name_unknown(exam, model)


def _introduce(
    exam: Examination, said: ModelProfile | RerankProfile | None, found: ModelProfile | RerankProfile | None
) -> Iterator[Finding]:
    server, facts = exam.server, exam.facts
    known = (
        f"version {server.version}" if server.version else "",
        facts.architectures[0] if facts.architectures else "",
        f"up to {server.max_tokens} tokens" if server.max_tokens else "",
    )
    more = ", ".join(filter(None, known))
    software = "A server" if exam.kind == "unknown" else exam.dialect.title
    yield ok(
        "server",
        f"{software} runs {server.model or 'a model it does not name'}{f' ({more})' if more else ''}.",
        kind=exam.kind,
        version=server.version,
        model=server.model,
        profile=exam.profile.name if exam.profile else None,
    )
    if exam.kind == "unknown":
        yield note("server-unknown", "The software was not recognised: it is asked as OpenAI's API is.")
    if said and found and said is not found:
        yield wrong(
            "other-model",
            f"`--model` says {said.name}, the server runs {found.name}.",
            cause="The URL is that of another server, or the wrong model was started.",
            mend=f"qwen-embed serve {said.name}",
        )


def _name_unknown(exam: Examination, model: str | None) -> Iterator[Finding]:
    try:
        profile_for(model or exam.name)
    except UnknownModelError as error:
        if model is not None:
            yield warning(
                "model-unknown",
                f"{str(error).replace('`model`', '`--model`')} Published numbers cannot be compared.",
                cause="The name is misspelt, or is that of a fine-tune.",
                mend="Name what it was made from, such as --model Qwen/Qwen3-Embedding-0.6B.",
            )
        elif exam.profile is None and exam.name != _NAMELESS:
            yield note(
                "model-unknown",
                f"{exam.name} is no model that is known here: published numbers cannot be compared.",
                mend="Name what it is with --model, such as --model Qwen/Qwen3-Embedding-0.6B.",
            )


def find_task(exam: Examination, task: Task | None) -> Iterator[Finding | Task]:
    """Find out whether the server embeds or reranks, by asking it to.

    Yields:
        Findings, then the task, if the server can do one.
    """
    wanted = task or _task_of(exam)
    last: ServerError | None = None
    for each in (wanted,) if wanted else TASKS:
        try:
            _try(exam, each)
        except ServerError as error:
            last = error
            continue
        misfit = _misfit(exam, each)
        if misfit is not None:
            yield misfit
            return
        yield ok("task", "The server embeds." if each == "embed" else "The server reranks.", task=each)
        yield each
        return
    if last is not None:
        yield _refusal(exam, last, wanted, said=task)


def unanswered(error: ServerError) -> Finding:
    """Return what a failed request means, whatever was asked."""
    if isinstance(error, ServerAuthenticationError):
        return wrong(
            "key",
            f"The server wants a key, or another one: {error}",
            mend="Put the key into an environment variable and name it: --api-key-env NAME",
        )
    if isinstance(error, ServerBusyError):
        return wrong(
            "busy",
            f"The server is busy or failing: {error}",
            cause="It is still loading, its queue is full, or it crashes on requests.",
            mend="Wait until GET /health answers 200, look at its log, and try again.",
        )
    if isinstance(error, ServerConnectionError):
        return wrong(
            "unreachable",
            str(error),
            cause="It is not running, still loading, bound to another address, or behind a firewall.",
            mend="Check the host and port, and the server's log.",
        )
    if isinstance(error, EndpointNotFoundError):
        return wrong(
            "no-route",
            str(error),
            cause="The URL is that of something else, or lacks a part of its path.",
            mend="Give the address up to /v1, such as http://localhost:30000/v1.",
        )
    if isinstance(error, BadReplyError):
        return wrong(
            "bad-reply",
            str(error),
            cause="A proxy or login page answers, or the server does not speak this API.",
            mend="Ask the server itself, without a proxy.",
        )
    return wrong("refused", str(error), mend="Read what the server says; its log may say more.")


def _profile(name: str | None) -> ModelProfile | RerankProfile | None:
    try:
        return profile_for(name) if name else None
    except UnknownModelError:
        return None


def _task_of(exam: Examination) -> Task | None:
    if exam.server.task in TASKS:
        return exam.server.task
    if exam.profile is not None:
        return "rerank" if isinstance(exam.profile, RerankProfile) else "embed"
    return None


def _try(exam: Examination, task: Task) -> None:
    if task == "embed":
        exam.embed(samples.DISTINCT[0])
    else:
        exam.rerank(samples.QUESTIONS[0], samples.ANSWERS[:2])


def _misfit(exam: Examination, task: Task) -> Finding | None:
    if task == "embed" and isinstance(exam.profile, RerankProfile):
        return wrong(
            "reranker-as-embedder",
            f"{exam.profile.name} is a reranker, but the server was started to embed with it.",
            cause="--is-embedding was given." if exam.kind == "sglang" else "It was started with --convert embed.",
            mend=remedies.reranker(exam),
        )
    # A causal model that embeds has no head to score with; cross-encoders of old versions look like embedding models.
    embeds = exam.profile is None and exam.server.task == "embed" and exam.is_causal
    if task == "rerank" and embeds:
        return wrong(
            "embedder-as-reranker",
            f"The server was started to embed with {exam.name}, and answers rerank requests with it all the same.",
            cause="Such scores are cosines at best; a reranker reads query and document together.",
            mend=f"Leave --task out to examine its vectors. If it is a reranker:\n{remedies.reranker(exam)}",
        )
    if task == "rerank" and isinstance(exam.profile, ModelProfile):
        return wrong(
            "embedder-as-reranker",
            f"{exam.profile.name} is an embedding model, but the server answers rerank requests with it.",
            cause="Such scores are cosines at best; a reranker reads query and document together.",
            mend=f"qwen-embed serve {exam.profile.name.replace('Embedding', 'Reranker')}"
            if exam.profile.architecture == "qwen3"
            else "qwen-embed models lists rerankers.",
        )
    return None


def _refusal(exam: Examination, error: ServerError, task: Task | None, *, said: Task | None) -> Finding:
    message = str(error)
    if task == "embed" and isinstance(exam.profile, RerankProfile):
        return wrong(
            "wrong-task",
            f"{exam.name} is a reranker, and the server does not embed with it: {message}",
            cause="--task or --model says otherwise than the server.",
            mend="Leave --task out, or say in --model what the server runs.",
        )
    if exam.kind == "sglang" and exam.facts.generates and _NO_EMBEDDING_MODEL in message:
        return _generator(exam, task, said=said)
    if isinstance(error, EndpointNotFoundError) and exam.kind == "vllm":
        return wrong(
            "not-pooling",
            f"vLLM runs {exam.name}, and mounts no route to {'rerank' if task == 'rerank' else 'embed'}.",
            cause="It was started as a text generator, or for the other task: vLLM mounts what the model can do.",
            mend=f"To rerank:\n{remedies.reranker(exam)}\nTo embed:\n{remedies.embedder(exam)}",
        )
    if isinstance(error, WrongServerError):
        unknown = exam.kind == "unknown"
        return wrong(
            "wrong-task",
            message,
            cause="Something else answers at this URL, or a server that was not started for this."
            if unknown
            else "The server's model is of another kind, or it was not started for this.",
            mend="Check the URL: it must be that of an embedding or rerank server."
            if unknown
            else (remedies.embedder(exam) if task == "embed" else remedies.reranker(exam)),
        )
    if isinstance(error, RequestRefusedError) and exam.kind == "sglang" and task == "rerank":
        return wrong("refused", message, mend=remedies.reranker(exam))
    return unanswered(error)


def _generator(exam: Examination, task: Task | None, *, said: Task | None) -> Finding:
    """Return what it means that SGLang, which runs the model as a text generator, refuses."""
    # Its own tokenizer tells an embedding model: a reranker's prompt ends where its answer begins.
    unsaid = said is None and exam.profile is None
    if task == "embed" or isinstance(exam.profile, ModelProfile) or (unsaid and exam.appends_end):
        return wrong(
            "not-embedding",
            f"SGLang runs {exam.name} as a text generator and refuses to embed.",
            cause="It was started without --is-embedding, which Qwen3-Embedding needs: its architecture, "
            "Qwen3ForCausalLM, is a generator's.",
            mend=remedies.embedder(exam),
        )
    known = isinstance(exam.profile, RerankProfile)
    return wrong(
        "template",
        "SGLang answers rerank requests with 400 and says to add --is-embedding. For a Qwen3-Reranker that is a "
        "false lead.",
        cause="No chat template is loaded, so SGLang takes the model for a cross-encoder."
        + ("" if known else " (If the model is a Qwen3-Embedding: it was started without --is-embedding.)"),
        mend=remedies.reranker(exam) + ("" if known else f"\nFor an embedding model:\n{remedies.embedder(exam)}"),
    )


def is_alive(exam: Examination) -> bool:
    """Tell whether the server still answers anything."""
    try:
        exam.ask(f"{exam.root_url}/v1/models", optional=True)
    except ServerConnectionError:
        return False
    except QwenEmbedError:
        return True
    return True
