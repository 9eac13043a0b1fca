"""Loading takes little memory, says in one line what it chose, and refuses what does not fit."""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import checkpoints
import jina_checkpoints
from qwen_embed_integrations import Embedder, Reranker
from qwen_embed_integrations.errors import ModelLoadError
from qwen_embed_integrations.local import loading
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.weights import StoredWeights
from qwen_embed_integrations.local.forward import cpu_linear
from qwen_embed_integrations.local.forward.cpu_linear import PlainLinear, PrepackedLinear
from qwen_embed_integrations.local.loading import kernels_of, load_model

if TYPE_CHECKING:
    from pathlib import Path

    from qwen_embed_integrations.local.rerank import LocalRerankEngine

FILES = "model*.safetensors"


def stored_as(folder: Path, dtype: torch.dtype) -> Path:
    for path in folder.glob(FILES):
        halved = {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
        save_file(halved, path, metadata={"format": "pt"})
    return folder


# --- how much memory it takes --------------------------------------------------------------------------------------

# The kernel's own record of the most memory at once, pages of mapped files included, before and after each.
MEASURE = """
import gc, sys
from qwen_embed_integrations import Embedder
from qwen_embed_integrations.local import loading
from qwen_embed_integrations.local import loading
from qwen_embed_integrations.local.forward import cpu_linear

def most():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

kind, tiny, *cases = sys.argv[1:]
loading.linear_layers_for = lambda _: getattr(cpu_linear, kind)
Embedder.local(tiny, device="cpu", dtype="float32").embed_documents(["x"])
for case in cases:
    folder, dtype = case.split("=")
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = most()
    loaded = Embedder.local(folder, device="cpu", dtype=dtype)
    print(most() - before)
    del loaded
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of 100 to 300 MB in several files or one, of each kind of loading."""
    root = tmp_path_factory.mktemp("large")
    size = {"hidden_size": 512, "intermediate_size": 2048, "initializer_range": 0.02}
    qwen3 = checkpoints.qwen3_embedding(
        root / "qwen3", vocab_size=60_000, num_hidden_layers=12, num_attention_heads=8, **size
    )
    shards = root / "shards"
    transformers.AutoModel.from_pretrained(qwen3).save_pretrained(shards, max_shard_size="50MB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (shards / name).write_bytes((qwen3 / name).read_bytes())
    checkpoints.sentence_transformers_files(shards, pooling="lasttoken", size=512)
    bert = {"vocab_size": 30_000, "num_hidden_layers": 16, "num_attention_heads": 8, **size}
    size.pop("initializer_range")
    jina = {"vocab_size": 30_000, "num_hidden_layers": 12, "num_attention_heads": 8, **size}
    folder = jina_checkpoints.embedding(root / "jina", spread=0.02, **jina)
    checkpoints.sentence_transformers_files(folder, pooling="mean", size=512)
    made = checkpoints.bert_embedding(root / "bert", **bert)
    return {
        "qwen3": qwen3,
        "shards": shards,
        "bert": stored_as(made, torch.float16),
        "jina": stored_as(folder, torch.float16),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own record")
@pytest.mark.parametrize("kind", [PlainLinear, PrepackedLinear])
def test_loading_takes_little_more_memory_than_the_weights(kind: Any, large: dict[str, Path], tiny_bert: Path) -> None:
    cases = [
        ("qwen3", "float32"),
        ("qwen3", "bfloat16"),
        ("shards", "bfloat16"),
        ("bert", "bfloat16"),
        ("bert", "float32"),
        ("jina", "bfloat16"),
    ]
    if kind is PrepackedLinear and not cpu_linear.has_onednn(torch.bfloat16):  # as on processors without AVX-512
        cases = [case for case in cases if case[1] == "float32"]
    arguments = [f"{large[name]}={dtype}" for name, dtype in cases]
    command = [sys.executable, "-c", MEASURE, kind.__name__, str(tiny_bert), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)  # noqa: S603 our own code
    for (name, dtype), most in zip(cases, map(int, done.stdout.split()), strict=True):
        weights = StoredWeights(CheckpointFiles(large[name])).size(getattr(torch, dtype))
        assert weights > 80e6
        assert most < 1.3 * weights, (name, dtype, most / weights)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_read_in_another_precision_are_those_that_transformers_reads(tmp_path: Path, dtype: str) -> None:
    folder = stored_as(checkpoints.qwen3_embedding(tmp_path / "tiny", vocab_size=700), torch.float16)
    with Embedder.local(folder, device="cpu", dtype=dtype) as ours:
        found = ours.embed_documents(["a quick fox", "fox"])
    model = transformers.AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype))
    model.save_pretrained(folder)
    with Embedder.local(folder, device="cpu", dtype=dtype) as same:
        assert (same.embed_documents(["a quick fox", "fox"]) == found).all()


# --- what is left to transformers ----------------------------------------------------------------------------------


def test_the_layers_of_a_quantized_checkpoint_stay_those_of_transformers(tmp_path: Path) -> None:
    folder = checkpoints.qwen3_embedding(tmp_path)
    checkpoints.edit_json(folder / "config.json", quantization_config={"quant_method": "unknown to transformers"})
    files = CheckpointFiles(folder)
    loaded = load_model(transformers.AutoModel, files, device=torch.device("cpu"), dtype=torch.float32)
    wanted = transformers.AutoModel.from_pretrained(folder)
    assert [type(module) for module in loaded.modules()] == [type(module) for module in wanted.modules()]
    assert kernels_of(loaded) == "packed attention; linear layers as loaded"


@pytest.mark.skipif(find_spec("gptqmodel") is not None or find_spec("optimum") is not None, reason="would be read")
def test_a_quantization_whose_package_is_missing_is_a_load_error(tmp_path: Path) -> None:
    folder = checkpoints.bert_embedding(tmp_path)
    checkpoints.edit_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(ModelLoadError, match="optimum"):
        Embedder.local(folder, device="cpu", dtype="float32")


# --- what does not fit ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_memory_that_ends_while_loading_is_the_same_error(large: dict[str, Path], tiny_bert: Path) -> None:
    code = (
        "import resource, sys\n"
        "from qwen_embed_integrations import Embedder\n"
        "Embedder.local(sys.argv[1], device='cpu', dtype='float32').embed_documents(['x'])\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 400_000_000, resource.RLIM_INFINITY))\n"
        "Embedder.local(sys.argv[2], device='cpu', dtype='float32')"
    )
    command = [sys.executable, "-c", code, str(tiny_bert), str(large["bert"])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)  # noqa: S603 our own code
    assert "ModelLoadError: `model` 'bert' does not fit" in done.stderr


# --- what it says --------------------------------------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("qwen_embed_integrations")]


def test_a_load_says_in_one_line_what_was_chosen(tiny_bert: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), Embedder.local(tiny_bert, device="cpu", dtype="float32") as loaded:
        loaded.embed_documents(["fox"])
        loaded.embed_queries(["fox"])
    (line,) = lines(caplog)
    count = sum(parameter.numel() for parameter in transformers.AutoModel.from_pretrained(tiny_bert).parameters())
    assert line.startswith(f"tiny: BertModel, {count / 1e6:.3g} million parameters, on cpu in float32 (")
    assert line.split("); ")[1].startswith("packed attention; linear layers ")


def test_the_precision_chosen_is_explained(tiny_bert: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Embedder.local(tiny_bert, device="cpu"):
        pass
    (line,) = lines(caplog)
    assert ("in bfloat16 (multiplied fast here)" in line) or (
        "in float32 (bfloat16 is not multiplied fast here)" in line
    )


def test_a_reranker_says_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = checkpoints.bert_cross_encoder(tmp_path / "tiny")
    with caplog.at_level(logging.INFO), Reranker.local(folder, device="cpu", dtype="float32") as loaded:
        engine: LocalRerankEngine = loaded._engine
        assert engine.profile.method == "cross_encoder"
    (line,) = lines(caplog)
    assert line.startswith("tiny: BertForSequenceClassification, ")


@pytest.mark.parametrize(
    ("kind", "words"),
    [(PrepackedLinear, "linear layers prepacked for oneDNN"), (PlainLinear, "linear layers plain")],
)
def test_kernels_are_told_in_words(kind: Any, words: str, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "linear_layers_for", lambda _: kind)
    loaded = load_model(
        transformers.AutoModel, CheckpointFiles(tiny_bert), device=torch.device("cpu"), dtype=torch.float32
    )
    assert kernels_of(loaded).startswith(f"packed attention; {words}")


def test_a_model_that_runs_padded_says_so(tmp_path: Path) -> None:
    files = CheckpointFiles(checkpoints.distilbert_embedding(tmp_path))
    loaded = load_model(transformers.AutoModel, files, device=torch.device("cpu"), dtype=torch.float32)
    assert kernels_of(loaded).startswith("padded, transformers' own attention; linear layers ")


# --- the same on every start ---------------------------------------------------------------------------------------

# Of all that is computed, as bits.
EMBED = """
import sys
from qwen_embed_integrations import Embedder

texts = ["fox", "the quick brown fox", "the lazy dog jumps " * 20, "a b c d e f g " * 9] * 5
with Embedder.local(sys.argv[1], device="cpu") as loaded:
    print((loaded.embed_documents(texts).tobytes() + loaded.embed_queries(texts[:3]).tobytes()).hex())
"""
BUSY = "while True: pass"


def test_a_start_beside_other_work_gives_the_vectors_of_a_quiet_one(tiny_bert: Path) -> None:
    command = [sys.executable, "-c", EMBED, str(tiny_bert)]
    quiet = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)  # noqa: S603 our own code
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]  # noqa: S603 our own code
    try:
        busy = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)  # noqa: S603 our own code
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert busy.stdout == quiet.stdout != ""
