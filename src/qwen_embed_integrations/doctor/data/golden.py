"""Numbers that the models' authors and ports published: what a right server must come close to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GoldenVectors:
    """Cosines between queries (with the profile's default prompt) and documents.

    Attributes:
        queries: Texts that search.
        documents: Texts that are searched.
        cosines: One row a query, one column a document.
        source: Where the numbers were published.
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    cosines: tuple[tuple[float, ...], ...]
    source: str


@dataclass(frozen=True)
class GoldenScores:
    """Scores from 0 to 1 of documents for one query, with the default instruction.

    Attributes:
        query: What is searched for.
        documents: What is scored.
        scores: One a document.
        source: Where the numbers were published.
        without_template: The scores of the bare texts, without the model's prompt, where published.
    """

    query: str
    documents: tuple[str, ...]
    scores: tuple[float, ...]
    source: str
    without_template: tuple[float, ...] = ()


_QWEN_QUERIES = ("What is the capital of China?", "Explain gravity")
_QWEN_DOCUMENTS = (
    "The capital of China is Beijing.",
    (
        "Gravity is a force that attracts two bodies towards each other. It gives weight to physical objects and is "
        "responsible for the movement of planets around the sun."
    ),
)
RED_PLANET = "Which planet is known as the Red Planet?"
RED_PLANET_DOCUMENTS = (
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
)

_QWEN_README = "QwenLM/Qwen3-Embedding @ f4ad0c4 README.md"
_QWEN_CARDS = "hf.co/Qwen/Qwen3-Embedding-{} model card"
_ST_EMBEDDING = "huggingface/sentence-transformers @ cad2119 tests/sentence_transformer/test_pretrained.py"
_ST_RERANK = "huggingface/sentence-transformers @ cad2119 tests/cross_encoder/test_model.py"
_ST_RERANK_PRETRAINED = "huggingface/sentence-transformers @ cad2119 tests/cross_encoder"


def _qwen(cosines: tuple[tuple[float, ...], ...], source: str) -> GoldenVectors:
    return GoldenVectors(_QWEN_QUERIES, _QWEN_DOCUMENTS, cosines, source)


def _red_planet(*cosines: float) -> GoldenVectors:
    return GoldenVectors((RED_PLANET,), RED_PLANET_DOCUMENTS, (cosines,), _ST_EMBEDDING)


def _jina(first: str, second: str, cosine: float, source: str) -> GoldenVectors:
    return GoldenVectors((first,), (second,), ((cosine,),), source)


# By the name of the profile.
VECTORS: dict[str, tuple[GoldenVectors, ...]] = {
    "Qwen/Qwen3-Embedding-0.6B": (
        _qwen(((0.76456, 0.14143), (0.13550, 0.59995)), _QWEN_README),
        _red_planet(0.4838, 0.69335, 0.58793, 0.6647),
    ),
    "Qwen/Qwen3-Embedding-4B": (_qwen(((0.7534, 0.1147), (0.0320, 0.6258)), _QWEN_CARDS.format("4B")),),
    "Qwen/Qwen3-Embedding-8B": (_qwen(((0.74930, 0.07506), (0.08796, 0.63184)), _QWEN_CARDS.format("8B")),),
    "mixedbread-ai/mxbai-embed-large-v1": (
        GoldenVectors(
            ("A man is eating a piece of bread",),
            (
                "A man is eating food.",
                "A man is eating pasta.",
                "The girl is carrying a baby.",
                "A man is riding a horse.",
            ),
            ((0.79196, 0.63693, 0.16512, 0.36208),),
            "hf.co/mixedbread-ai/mxbai-embed-large-v1 model card",
        ),
        _red_planet(0.5803, 0.81596, 0.72407, 0.73394),
    ),
    "jinaai/jina-embeddings-v2-small-en": (
        _jina(
            "How is the weather today?",
            "What is the current weather like today?",
            0.93998,
            "hf.co/Xenova/jina-embeddings-v2-small-en model card",
        ),
        _red_planet(0.76057, 0.91291, 0.88755, 0.85267),
    ),
    "jinaai/jina-embeddings-v2-base-en": (
        _jina(
            "How is the weather today?",
            "What is the current weather like today?",
            0.93413,
            "hf.co/Xenova/jina-embeddings-v2-base-en model card",
        ),
    ),
    "jinaai/jina-embeddings-v2-base-de": (_red_planet(0.3855, 0.76282, 0.68416, 0.6388),),
    "jinaai/jina-embeddings-v2-base-zh": (
        _jina(
            "How is the weather today?",
            "今天天气怎么样?",
            0.78606,
            "hf.co/Xenova/jina-embeddings-v2-base-zh model card",
        ),
    ),
}


def _scores(source: str, *scores: float, without_template: tuple[float, ...] = ()) -> GoldenScores:
    return GoldenScores(RED_PLANET, RED_PLANET_DOCUMENTS, scores, source, without_template)


SCORES: dict[str, GoldenScores] = {
    # Published as log-odds: -3.1093, 7.1204, -0.3788, 3.5416.
    "Qwen/Qwen3-Reranker-0.6B": _scores(
        _ST_RERANK, 0.04271, 0.99919, 0.40642, 0.97185, without_template=(0.55859, 0.98828, 0.88672, 0.91016)
    ),
    "mixedbread-ai/mxbai-rerank-xsmall-v1": _scores(_ST_RERANK_PRETRAINED, 0.21484, 0.9375, 0.57031, 0.72656),
    "mixedbread-ai/mxbai-rerank-base-v1": _scores(_ST_RERANK_PRETRAINED, 0.05176, 0.96875, 0.71484, 0.16895),
    "mixedbread-ai/mxbai-rerank-large-v1": _scores(_ST_RERANK_PRETRAINED, 0.00711, 0.99219, 0.80469, 0.3418),
}
