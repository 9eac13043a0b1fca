"""What a dialect is: how one kind of server is recognised, asked, limited and examined."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from qwen_embed_integrations.served.dialects.examination import Causes, Examination, Remedies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions
    from qwen_embed_integrations.server_info import Kind, ServerInfo, Task

Body = dict[str, Any]
Paths = tuple[str, ...]

# What becomes of an instruction: the request carries it; the server fills a template with a default of its own; or
# the model never sees one.
Instruction = Literal["sent", "template", "lost"]


def openai_body(model: str, texts: Sequence[str], encoding_format: str, dimensions: int | None) -> Body:
    """Build OpenAI's form of an embedding request."""
    # Strings only: token ids would be read with the server's own vocabulary, silently.
    body: Body = {"model": model, "input": list(texts), "encoding_format": encoding_format}
    return body if dimensions is None else body | {"dimensions": dimensions}


def common_body(model: str, query: str, documents: Sequence[str], instruction: str | None) -> Body:
    """Build the form of a rerank request that most servers share."""
    body: Body = {"model": model, "query": query, "documents": list(documents), "return_documents": False}
    # Under both names in use, since each server ignores the other's.
    return body if instruction is None else body | {"instruct": instruction, "instruction": instruction}


def instruct_body(model: str, query: str, documents: Sequence[str], instruction: str | None) -> Body:
    """Build the common form with the instruction as `instruct`."""
    body = common_body(model, query, documents, None)
    return body if instruction is None else body | {"instruct": instruction}


@dataclass(frozen=True, kw_only=True)
class Embeds:
    """How a server is asked for vectors.

    Attributes:
        paths: Where, given the base URL; the next is tried where one does not exist.
        body: Makes a request's body.
        base64: Whether base64 may be asked for; a server that ignores it answers with floats, which is harmless.
        max_batch: The most texts in a request.
    """

    paths: Callable[[str], Paths] = lambda _: ("embeddings",)
    body: Callable[[str, Sequence[str], str, int | None], Body] = openai_body
    base64: bool = True
    max_batch: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reranks:
    """How a server is asked for scores. `top_n` is never sent: the cut is made here, after all batches.

    Attributes:
        paths: Where, given the base URL and what is known of the server; the next is tried where one does not exist.
        body: Makes a request's body.
        instruction: What becomes of an instruction.
        max_batch: The most documents in a request.
        top_n: Whether the form has a `top_n`; one that calls it otherwise, or has none, is not tried with it.
    """

    paths: Callable[[str, ServerInfo], Paths] = lambda _url, _server: ("rerank",)
    body: Callable[[str, str, Sequence[str], str | None], Body] = common_body
    instruction: Callable[[ServerInfo], Instruction] = lambda _: "template"
    max_batch: int | None = None
    top_n: bool = True


def _never(_questions: Questions) -> Flow[bool]:
    yield from ()
    return False


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One kind of server.

    Attributes:
        name: What `dialect=` calls it.
        title: What messages call it.
        hosts: Host names of a hosted API, `*` for any part; it is recognised by them and asked nothing.
        hosted_version: Version of the hosted API that is spoken here, where it has several.
        recognise: Asks whether a server is of this kind.
        describe: Asks what a server of this kind runs, and within which limits; every answer may be missing.
        embeds: How it embeds; None where it does not, or not in a way that is spoken here.
        reranks: How it reranks; None where it does not.
        advice: What to do where it cannot do a task.
        examination: What it may be asked that only an examination wants to know.
        causes: What likely lies behind a finding about it.
        remedies: The flags and commands that mend one.
    """

    name: Kind
    title: str
    hosts: tuple[str, ...] = ()
    hosted_version: str | None = None
    recognise: Callable[[Questions], Flow[bool]] = _never
    describe: Callable[[Questions], Flow[ServerInfo]] | None = None
    embeds: Embeds | None = field(default_factory=Embeds)
    reranks: Reranks | None = None
    advice: Mapping[Task, str] = field(default_factory=dict)
    examination: Examination = field(default_factory=Examination)
    causes: Causes = field(default_factory=Causes)
    remedies: Remedies = field(default_factory=Remedies)

    @property
    def is_known(self) -> bool:
        """Whether this is a server that was recognised, and not what is assumed of any other."""
        return self.name != "unknown"

    def form_for(self, task: Task) -> Embeds | Reranks | None:
        """Return how it does a task, or None where it does not."""
        return self.embeds if task == "embed" else self.reranks


def is_since(version: str | None, first: tuple[int, ...]) -> bool:
    """Tell whether a version is this one or later; one that is unknown, or built from source, counts as current."""
    if version is None or "dev" in version or not (release := re.match(r"v?(\d+(?:\.\d+)*)", version)):
        return True
    return tuple(map(int, release[1].split("."))) >= first


def whole(value: Any) -> int | None:
    """Return a limit as a server states it, or None where it states none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def texts(value: Any) -> tuple[str, ...]:
    """Return the names in a list as a server states them."""
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def flag(value: Any) -> bool | None:
    """Return a yes or no as a server states it, or None where it states none."""
    return value if isinstance(value, bool) else None


def text(value: Any) -> str | None:
    """Return a name as a server states it, or None where it states none."""
    return value if isinstance(value, str) and value else None
