"""What may be asked of a server that is examined, and what is known to mend it.

A dialect states only what is its own: the defaults are those of a server that says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen_embed_integrations.served.address import root_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_embed_integrations.profiles import Pooling
    from qwen_embed_integrations.served.flow import Flow
    from qwen_embed_integrations.served.questions import Questions


@dataclass(frozen=True, kw_only=True)
class SelfReport:
    """What a server says about itself beyond what every client needs; None where it does not say.

    Attributes:
        served_name: The name requests call the model by.
        model_path: Where it loaded the model from.
        root: The model behind the served name, where that is an alias.
        architectures: Classes in the model's configuration.
        generates: Whether it runs the model as a text generator.
        memory_tokens: Tokens that fit into its memory at once.
        cuts_texts: Whether it cuts texts that are too long.
        quantization: How the weights are quantized.
    """

    served_name: str | None = None
    model_path: str | None = None
    root: str | None = None
    architectures: tuple[str, ...] = ()
    generates: bool | None = None
    memory_tokens: int | None = None
    cuts_texts: bool | None = None
    quantization: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tokenize:
    """How the server's own tokenizer is asked; by default at the root, as vLLM is.

    Attributes:
        path: Where, given the base URL.
        text_field: What a request calls the text.
        special_field: What it calls the choice to add the tokenizer's special tokens.
        read: Takes the ids from a reply; what is no list of whole numbers is no answer.
    """

    path: Callable[[str], str] = lambda base_url: f"{root_of(base_url)}/tokenize"
    text_field: str = "prompt"
    special_field: str = "add_special_tokens"
    read: Callable[[Any], Any] = lambda reply: reply.get("tokens") if isinstance(reply, dict) else reply


@dataclass(frozen=True, kw_only=True)
class ScorePrompts:
    """How the server scores whole prompts, given as ids of its own tokenizer, with the model it reranks with.

    Attributes:
        path: Where, given the base URL.
        bodies: Makes the requests, given the model's name, the prompts, and the ids of the labels yes and no.
        read: Takes one probability of "yes" a prompt from a reply; what is no number is no answer.
        wants_labels: Whether the requests carry the labels.
    """

    path: Callable[[str], str]
    bodies: Callable[[str, Sequence[Sequence[int]], Sequence[int]], list[dict[str, Any]]]
    read: Callable[[Any], list[Any]]
    wants_labels: bool = False


@dataclass(frozen=True, kw_only=True)
class GeneratorRefusal:
    """How a server refuses that runs a model as a text generator, as Qwen3-Reranker wants and Qwen3-Embedding does not.

    Attributes:
        message: What its refusal holds.
        embedder_cause: Why an embedding model is run so.
        reranker_found: What it means for a reranker.
        reranker_cause: Why a reranker is refused.
    """

    message: str
    embedder_cause: str
    reranker_found: str
    reranker_cause: str


def _says_nothing(_questions: Questions) -> Flow[SelfReport]:
    yield from ()
    return SelfReport()


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What a server may be asked that only an examination wants to know.

    Attributes:
        report: Asks what it says about itself; no answer is needed.
        tokenize: How its tokenizer is asked; None where it has no such route.
        score_prompts: How it scores exact prompts; None where it does not.
        generator_refusal: How it refuses where it runs a model as a text generator; None where that is not known.
    """

    report: Callable[[Questions], Flow[SelfReport]] = _says_nothing
    tokenize: Tokenize | None = None
    score_prompts: ScorePrompts | None = None
    generator_refusal: GeneratorRefusal | None = None


@dataclass(frozen=True, kw_only=True)
class Causes:
    """What likely lies behind a finding on this server; whole sentences.

    Attributes:
        started_to_embed: A reranker embeds.
        missing_route: The route for a task is missing; None where that tells nothing of how it was started.
        base64_ignored: Floats come back where base64 was asked for.
        dimensions_ignored: `dimensions` changes nothing.
        cut_unnormalized: Vectors that it cut are not of length 1.
        text_too_long_for_memory: Texts that are within the model's context never get an answer.
        long_text_cut: A long text is cut in silence.
        queue_full: Requests are refused as too many.
        instruction_ignored: The instruction of a rerank request changes nothing.
        template_nearly_right: A reranker's prompt differs by white space.
        scores_reversed: The right answers get the lowest scores.
        top_n_ignored: `top_n` changes nothing.
    """

    started_to_embed: str = "It was started to embed."
    missing_route: str | None = None
    base64_ignored: str = "The server does not know the field."
    dimensions_ignored: str = "The server does not know the field."
    cut_unnormalized: str = "The server cuts after it normalised."
    text_too_long_for_memory: str = "The server checks a text's length against the context only."
    long_text_cut: str = "The server cuts by itself."
    queue_full: str = "The server or a proxy bounds its queue."
    instruction_ignored: str = "The server does not know the field."
    template_nearly_right: str = "A chat template of that wording is loaded. Scores move, and thresholds with them."
    scores_reversed: str = "Scores are upside down."
    top_n_ignored: str = "The server does not know the field."


@dataclass(frozen=True, kw_only=True)
class Remedies:
    """Flags and commands that start this server rightly; None where there are none, or none is known.

    Attributes:
        engine: What `qwen-embed serve --engine` calls it, where that is not the default.
        start_embedder: Makes the server's own command for an embedding model, given the model's name and the pooling
            that it must be told; None for the one it chooses.
        start_reranker: Makes that for Qwen3-Reranker, given the model's name and the path of its chat template.
        restart_if_rerank_refused: Whether a refused rerank request means that it was not started for one.
        update: What to update where a version is too old for a field.
        batch_width_flag: Bounds how many requests it computes at once.
        default_prompt_flags: Put a prompt before every text.
        dtype_flag: Keeps half precision from overflowing.
        matryoshka_flag: Says that the model's vectors may be cut.
        more_memory: Makes the advice where fewer tokens than a text may have fit into memory, given how many.
        tokenizer_flag: Gives it another tokenizer than the model's.
    """

    engine: str | None = None
    start_embedder: Callable[[str, Pooling | None], str] | None = None
    start_reranker: Callable[[str, str], str] | None = None
    restart_if_rerank_refused: bool = False
    update: str | None = None
    batch_width_flag: str | None = None
    default_prompt_flags: str | None = None
    dtype_flag: str | None = None
    matryoshka_flag: str | None = None
    more_memory: Callable[[int], str] | None = None
    tokenizer_flag: str | None = None
