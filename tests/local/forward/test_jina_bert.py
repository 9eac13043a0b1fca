"""JinaBERT equals its mathematics, written down once more and plainly; what is none is not taken for one."""

from __future__ import annotations

import math
import random
import threading
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

import checkpoints
import jina_checkpoints
from qwen_embed_integrations import Embedder, ModelProfile, Reranker
from qwen_embed_integrations.errors import LongTextWarning, ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LAYOUTS = ["standard", "qk_post_norm"]
MEAN = ModelProfile(name="tiny", pooling="mean")


class Plain:
    """JinaBERT step by step, one sequence and one head at a time, in float64.

    From the published code's mathematics: jinaai/jina-bert-implementation and jinaai/jina-bert-v2-qk-post-norm.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        loaded = [load_file(path).items() for path in folder.glob("*.safetensors")]
        self.weights = {name.removeprefix("bert."): tensor.double() for name, tensor in chain(*loaded)}
        self.config = config

    def vector(self, ids: Sequence[int]) -> np.ndarray:
        """Return the mean of the last states of a sequence."""
        states = self["embeddings.word_embeddings.weight"][list(ids)]
        states = self.norm("embeddings.LayerNorm", states + self["embeddings.token_type_embeddings.weight"][0])
        for at in range(self.config["num_hidden_layers"]):
            states = self.layer(f"encoder.layer.{at}", states)
        mean: np.ndarray = states.mean(0).numpy()
        return mean

    def layer(self, name: str, states: torch.Tensor) -> torch.Tensor:
        attended = self.attention(f"{name}.attention", states)
        act = {"geglu": self.gelu, "reglu": lambda x: x.clamp(min=0)}[self.config["feed_forward_type"]]
        half = self.config["intermediate_size"]
        if f"{name}.mlp.up_gated_layer.weight" in self.weights:
            attended = self.norm(f"{name}.layer_norm_1", states + attended)
            both = attended @ self[f"{name}.mlp.up_gated_layer.weight"].T
            return self.norm(
                f"{name}.layer_norm_2",
                attended + self.linear(f"{name}.mlp.down_layer", both[:, :half] * act(both[:, half:])),
            )
        both = attended @ self[f"{name}.mlp.gated_layers.weight"].T
        out = self.linear(f"{name}.mlp.wo", act(both[:, :half]) * both[:, half:])
        return self.norm(f"{name}.mlp.layernorm", out + attended)

    def attention(self, name: str, states: torch.Tensor) -> torch.Tensor:
        query, key, value = (self.linear(f"{name}.self.{part}", states) for part in ("query", "key", "value"))
        if f"{name}.self.layer_norm_q.weight" in self.weights:
            query, key = self.norm(f"{name}.self.layer_norm_q", query), self.norm(f"{name}.self.layer_norm_k", key)
        heads = self.config["num_attention_heads"]
        size = states.shape[1] // heads
        places = torch.arange(len(states))
        found = torch.empty_like(query)
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            for some in places.split(256):
                distances = (some[:, None] - places[None, :]).abs()
                scores = query[some, own] @ key[:, own].T / math.sqrt(size) - self.slope(head, heads) * distances
                found[some, own] = scores.softmax(-1) @ value[:, own]
        context = self.linear(f"{name}.output.dense", found)
        return self.norm(f"{name}.output.LayerNorm", context + states)

    def slope(self, head: int, heads: int) -> float:
        """Return a head's slope as the paper's code does, by powers of the first."""
        power = 2 ** math.floor(math.log2(heads))
        if head < power:
            return (2 ** (-(2 ** -(math.log2(power) - 3)))) ** (head + 1)
        return (2 ** (-(2 ** -(math.log2(2 * power) - 3)))) ** (2 * (head - power) + 1)

    def norm(self, name: str, states: torch.Tensor) -> torch.Tensor:
        spread = (states - states.mean(-1, keepdim=True)) / (states.var(-1, keepdim=True, correction=0) + 1e-12).sqrt()
        return spread * self[f"{name}.weight"] + self[f"{name}.bias"]

    def linear(self, name: str, states: torch.Tensor) -> torch.Tensor:
        return states @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    @staticmethod
    def gelu(states: torch.Tensor) -> torch.Tensor:
        return states * 0.5 * (1 + torch.erf(states / math.sqrt(2)))

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.weights[name]


def expected(folder: Path, texts: Sequence[str], max_tokens: int = 8192) -> np.ndarray:
    """Return the unit vectors these texts should have."""
    plain = Plain(folder, checkpoints.read_json(folder / "config.json"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"] for text in texts]
    rows = np.stack([plain.vector(each) for each in ids])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("glu", ["geglu", "reglu"])
@pytest.mark.parametrize("heads", [6, 8, 12, 16])
def test_vectors_equal_the_mathematics(heads: int, glu: str, layout: str, texts: list[str], tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(
        tmp_path / "tiny", layout=layout, num_attention_heads=heads, hidden_size=8 * heads, feed_forward_type=glu
    )
    with Embedder.local(folder, dtype="float32", device="cpu", profile=MEAN, token_budget=300) as ours:
        np.testing.assert_allclose(ours.embed_documents(texts), expected(folder, texts), atol=1e-5)


def test_a_text_of_8192_tokens_is_read_whole_in_little_memory(tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "tiny", num_attention_heads=4, hidden_size=16, num_hidden_layers=1)
    draw = random.Random(3)
    text = " ".join(draw.choices(["quick", "brown", "fox", "jumps", "dog", "yes"], k=8190))
    with Embedder.local(folder, dtype="float32", device="cpu", profile=MEAN, long_text="error") as ours:
        ours.embed_documents(["fox"])  # what torch sets up once is not the text's
        found, peak = measured(lambda: ours.embed_documents([text, "fox"]))
    np.testing.assert_allclose(found, expected(folder, [text, "fox"]), atol=1e-5)
    assert peak < 4 * 8192 * 8192 * 4 / 8  # an eighth of all its attention weights


def measured(compute: Callable[[], np.ndarray]) -> tuple[np.ndarray, int]:
    """Return a result, and how many bytes of memory the process took in at most on the way."""
    process, done, seen = psutil.Process(), threading.Event(), [0]
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.002):
            seen.append(process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return compute(), max(seen)
    finally:
        done.set()
        watcher.join()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_stays_close(layout: str, texts: list[str], tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(
        tmp_path / "tiny", layout=layout, num_attention_heads=12, hidden_size=384, intermediate_size=768, spread=0.05
    )
    long = " ".join(texts)
    with Embedder.local(folder, dtype="bfloat16", device="cpu", profile=MEAN) as ours:
        found = ours.embed_documents([*texts, long])
    assert (found * expected(folder, [*texts, long])).sum(1).min() >= 0.9995


def test_order_and_company_do_not_change_a_vector(texts: list[str], tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "tiny")
    with (
        Embedder.local(folder, dtype="float32", device="cpu", profile=MEAN, token_budget=1) as one_by_one,
        Embedder.local(folder, dtype="float32", device="cpu", profile=MEAN, token_budget=100_000) as together,
    ):
        alone = one_by_one.embed_documents(texts)
        np.testing.assert_allclose(together.embed_documents(texts), alone, atol=1e-6)
        np.testing.assert_allclose(together.embed_queries(texts[::-1]), alone[::-1], atol=1e-6)


@pytest.mark.parametrize("name", ["jina-embeddings-v2-small-en", "jina-embeddings-v2-base-code"])
def test_a_known_name_needs_no_sentence_transformers_files(name: str, tmp_path: Path) -> None:
    shape = {"layout": "qk_post_norm", "hidden_size": 768} if name.endswith("code") else {"hidden_size": 512}
    folder = jina_checkpoints.embedding(tmp_path / name, num_attention_heads=8, num_hidden_layers=1, **shape)
    with Embedder.local(folder, dtype="float32", device="cpu") as ours:
        assert ours.profile.name == f"jinaai/{name}"
        np.testing.assert_allclose(ours.embed_queries(["quick fox"]), expected(folder, ["quick fox"]), atol=1e-5)


def test_sentence_transformers_files_are_followed(texts: list[str], tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "mine")
    checkpoints.sentence_transformers_files(
        folder, pooling="mean", size=48, normalize=False, reader={"max_seq_length": 40}
    )
    with (
        Embedder.local(folder, dtype="float32", device="cpu") as ours,
        pytest.warns(LongTextWarning, match="were cut"),
    ):
        np.testing.assert_allclose(ours.embed_documents(texts), expected(folder, texts, 40), atol=1e-5)


def test_weights_saved_with_a_head_in_parts_and_in_half_precision_load(tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "tiny")
    weights = {f"bert.{name}": tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    weights |= {"cls.predictions.bias": torch.zeros(320), "cls.predictions.transform.dense.bias": torch.zeros(48)}
    (folder / "model.safetensors").unlink()
    files = {name: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, name in enumerate(weights)}
    for file in set(files.values()):
        part = {name: weights[name] for name in weights if files[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    checkpoints.write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": files})
    with Embedder.local(folder, dtype="float32", device="cpu", profile=MEAN) as ours:
        np.testing.assert_allclose(ours.embed_documents(["quick fox"]), expected(folder, ["quick fox"]), atol=1e-5)


# --- what is not one of the two ----------------------------------------------------------------------------------


def refusal(folder: Path) -> str:
    with pytest.raises(ModelLoadError) as caught:
        Embedder.local(folder, device="cpu", profile=MEAN)
    return str(caught.value)


def rename(folder: Path, old: str, new: str | None) -> None:
    """Rename weights, or leave them out."""
    weights = load_file(folder / "model.safetensors")
    kept = {name.replace(old, new or ""): tensor for name, tensor in weights.items() if new or old not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("old", "new"), [("layer_norm_q", "norm_query"), ("layer_norm_1", None), ("mlp.down_layer", "mlp.wo")]
)
def test_a_layout_that_is_not_known_is_refused_with_what_differs(old: str, new: str | None, tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "other", layout="qk_post_norm")
    rename(folder, old, new)
    assert old in refusal(folder)
    assert "Embedder.served" in refusal(folder)


def test_the_code_of_base_es_is_refused_whatever_its_weights_are_called(tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "jina-embeddings-v2-base-es", layout="qk_post_norm")
    repo = "jinaai/jina-bert-v2-qk-devlin-norm-1e-2"
    checkpoints.edit_json(folder / "config.json", auto_map={"AutoModel": f"{repo}--modeling_bert.JinaBertModel"})
    assert repo in refusal(folder)


def test_code_beside_the_weights_changes_nothing(tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "tiny")
    (folder / "modeling_bert.py").write_text("raise SystemExit")
    checkpoints.edit_json(folder / "config.json", auto_map={"AutoModel": "modeling_bert.JinaBertModel"})
    with Embedder.local(folder, dtype="float32", device="cpu", profile=MEAN) as ours:
        np.testing.assert_allclose(ours.embed_documents(["fox"]), expected(folder, ["fox"]), atol=1e-5)


@pytest.mark.parametrize(
    "change", [{"feed_forward_type": "original"}, {"feed_forward_type": None}, {"position_embedding_type": "absolute"}]
)
def test_settings_that_are_not_known_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "other")
    checkpoints.edit_json(folder / "config.json", **change)
    assert next(iter(change)) in refusal(folder)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_whose_config_hides_it_is_not_loaded_as_plain_bert(layout: str, tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "hidden", layout=layout)
    checkpoints.edit_json(folder / "config.json", feed_forward_type=None, position_embedding_type=None, auto_map=None)
    assert "no place for" in refusal(folder)


def test_weights_that_are_missing_are_refused(tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "tiny")
    rename(folder, "layer.1.mlp.wo", None)
    assert "missing" in refusal(folder)


def test_weights_without_the_unused_pooler_load(tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "tiny")
    rename(folder, "pooler", None)
    with Embedder.local(folder, dtype="float32", device="cpu", profile=MEAN) as ours:
        np.testing.assert_allclose(ours.embed_documents(["fox"]), expected(folder, ["fox"]), atol=1e-5)


def test_a_jina_bert_cross_encoder_is_refused(tmp_path: Path) -> None:
    folder = jina_checkpoints.embedding(tmp_path / "reranker", architectures=["JinaBertForSequenceClassification"])
    with pytest.raises(ModelLoadError, match=r"JinaBERT.*Reranker\.served"):
        Reranker.local(folder, device="cpu")
