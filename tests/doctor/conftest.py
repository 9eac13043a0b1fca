"""Servers over a real tiny Qwen3, started rightly or wrongly, and examined."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import checkpoints
import loopback
from examinations import official_prompt
from qwen_embed_integrations.doctor.run import examine
from qwen_embed_integrations.doctor.server import ExaminedServer
from qwen_embed_integrations.options import ServedOptions
from qwen_embed_integrations.served.connection import Connection
from qwen_embed_integrations.server_info import ServerInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from examinations import Findings

CONTEXT = 512


@dataclass
class TinyServer:
    """What an SGLang or a vLLM answers over a tiny Qwen3, or what one that was started wrongly does."""

    model: Any
    tokenizer: Any
    kind: str = "sglang"
    task: str = "embed"
    pooling: str = "last"
    appends: int | None = None
    matryoshka: bool = True
    prompt: Callable[[str, str, str | None], str] | None = official_prompt
    info: dict[str, Any] = field(default_factory=dict)

    def __call__(self, request: loopback.Request) -> loopback.Answer:
        name = request.path.removeprefix("/v1").strip("/")
        answer = getattr(self, f"_{name}", None) if self._mounts(request) else None
        if answer is None:
            return 404, {"detail": "Not Found"}, {}
        posted = name in {"tokenize", "embeddings", "rerank", "score", "classify"}
        return (
            answer(request.body)
            if posted == (request.method == "POST")
            else (405, {"detail": "Method Not Allowed"}, {})
        )

    def _mounts(self, request: loopback.Request) -> bool:
        by_kind = {
            "sglang": {"model_info", "server_info", "models", "tokenize", "embeddings", "rerank", "score"},
            "vllm": {"version", "models", "tokenize", "classify", "rerank"}
            | ({"embeddings"} if self.task == "embed" else set()),
        }
        return request.path.removeprefix("/v1").strip("/") in by_kind[self.kind]

    # --- what it is ---------------------------------------------------------------------------------------------

    def _models(self, _: Any) -> loopback.Answer:
        return 200, {"data": [{"id": "tiny", "owned_by": self.kind, "max_model_len": CONTEXT}]}, {}

    def _model_info(self, _: Any) -> loopback.Answer:
        return (
            200,
            {"model_path": "tiny", "is_generation": self.task == "rerank", "architectures": ["Qwen3ForCausalLM"]},
            {},
        )

    def _server_info(self, _: Any) -> loopback.Answer:
        return 200, {"version": "0.5.23", "api_key": "sk-secret", **self.info}, {}

    def _version(self, _: Any) -> loopback.Answer:
        return 200, {"version": "0.32.0"}, {}

    # --- tokens -------------------------------------------------------------------------------------------------

    def _ids(self, given: str | list[int]) -> list[int]:
        if isinstance(given, list):
            return given
        plain: list[int] = self.tokenizer(given, add_special_tokens=False)["input_ids"]
        return plain if self.appends is None else [*plain, self.appends]

    def _tokenize(self, body: dict[str, Any]) -> loopback.Answer:
        special = body.get("add_special_tokens", True)
        ids = self._ids(body["prompt"]) if special else self.tokenizer(body["prompt"])["input_ids"]
        if not special and self.appends is not None:
            ids = self.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
        return 200, {"tokens": ids, "count": len(ids)}, {}

    # --- vectors ------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def vector(self, ids: list[int], size: int | None = None) -> torch.Tensor:
        states = self.model.model(torch.tensor([ids])).last_hidden_state[0]
        pooled = {"last": states[-1], "cls": states[0], "mean": states.mean(0)}[self.pooling]
        return torch.nn.functional.normalize(pooled[:size], dim=0)

    def _embeddings(self, body: dict[str, Any]) -> loopback.Answer:
        if self.kind == "sglang" and self.task == "rerank":
            return loopback.sglang_reranker(loopback.Request("POST", "/v1/embeddings", {}, body))
        given = body["input"]
        inputs = [given] if isinstance(given, str) else given
        size = body.get("dimensions")
        if size is not None and not self.matryoshka:
            return self._refuse("Model 'tiny' does not support matryoshka representation")
        if any(isinstance(text, str) and not text.strip() for text in inputs):
            return self._refuse("Input at index 1 cannot be empty or whitespace only")
        ids = [self._ids(text) for text in inputs]
        if max(map(len, ids)) > CONTEXT:
            return self._refuse(f"The input is longer than the model's context length ({CONTEXT} tokens).")
        rows = [self.vector(tokens, size).numpy() for tokens in ids]
        packed = body.get("encoding_format") == "base64"
        data = [
            {"index": index, "embedding": base64.b64encode(row.tobytes()).decode() if packed else row.tolist()}
            for index, row in enumerate(rows)
        ]
        return 200, {"data": data, "usage": {"prompt_tokens": sum(map(len, ids))}}, {}

    # --- scores -------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def probability(self, ids: list[int]) -> float:
        logits = self.model(torch.tensor([ids])).logits[0, -1].double()
        yes, no = (self.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("yes", "no"))
        return float(torch.sigmoid(logits[yes] - logits[no]))

    def _rerank(self, body: dict[str, Any]) -> loopback.Answer:
        if self.prompt is None:
            return self._refuse(
                "This model does not appear to be an embedding model by default. Please add `--is-embedding`"
            )
        instruction = body.get("instruct" if self.kind == "sglang" else "instruction")
        ids = [self._ids(self.prompt(body["query"], document, instruction)) for document in body["documents"]]
        key = "score" if self.kind == "sglang" else "relevance_score"
        rows = [{"index": index, key: self.probability(prompt)} for index, prompt in enumerate(ids)]
        rows = sorted(rows, key=lambda row: -row[key])[: body.get("top_n")]
        usage = {"prompt_tokens": sum(map(len, ids))}
        return 200, rows if self.kind == "sglang" else {"results": rows, "usage": usage}, {}

    def _score(self, body: dict[str, Any]) -> loopback.Answer:
        scores = [self.probability(body["query"] + item) for item in body["items"]]
        return 200, {"scores": [[score, 1 - score] for score in scores]}, {}

    def _classify(self, body: dict[str, Any]) -> loopback.Answer:
        return 200, {"data": [{"probs": [self.probability(self._ids(prompt))]} for prompt in body["input"]]}, {}

    def _refuse(self, message: str) -> loopback.Answer:
        return 400, {"object": "error", "message": message, "type": "BadRequestError", "code": 400}, {}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return checkpoints.qwen3(tmp_path_factory.mktemp("doctor") / "tiny", append_eos=False)


@pytest.fixture(scope="session")
def embedding_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as an embedding model's folder, whose tokenizer ends every text."""
    torch.manual_seed(0)
    return checkpoints.qwen3_embedding(tmp_path_factory.mktemp("doctor") / "embedding")


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Path) -> tuple[Any, Any]:
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(tiny_folder)


@pytest.fixture
def start(tiny_model: tuple[Any, Any]) -> Iterator[Callable[..., loopback.Server]]:
    """Start a tiny server; `breaks` changes its answers on the way, as a proxy does."""
    running: list[loopback.Server] = []

    def begin(
        breaks: Callable[[loopback.Request, loopback.Answer], loopback.Answer] | None = None, **settings: Any
    ) -> loopback.Server:
        model, tokenizer = tiny_model
        end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
        settings = {"appends": end if settings.get("task") != "rerank" else None} | settings
        tiny = TinyServer(model, tokenizer, **settings)
        answer = (lambda request: breaks(request, tiny(request))) if breaks else tiny
        running.append(loopback.Server(answer))
        return running[-1]

    yield begin
    for server in running:
        server.close()


@pytest.fixture
def connected() -> Iterator[Callable[..., ExaminedServer]]:
    """Connect to a server as one of a kind, for checks by themselves."""
    connections: list[Connection] = []

    def connect(base_url: str, kind: str = "sglang", **known: Any) -> ExaminedServer:
        connections.append(Connection(ServedOptions(base_url=base_url, max_concurrency=1, max_retries=0)))
        return ExaminedServer(connections[-1], model="tiny", info=ServerInfo(kind=kind, **known))

    yield connect
    for connection in connections:
        connection.close()


@pytest.fixture
def examined() -> Callable[..., Findings]:
    """Examine a server, and return its findings by their codes, the worst of each code."""

    def run(server: loopback.Server, **options: Any) -> Findings:
        order = ("ok", "note", "warning", "wrong")
        findings = list(examine(server.base_url, **{"with_load": False, "timeout": 20.0} | options))
        return {finding.code: finding for finding in sorted(findings, key=lambda one: order.index(one.severity))}

    return run
