from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import checkpoints
from qwen_embed_integrations.errors import InvalidInputError, ModelLoadError, UnknownModelError
from qwen_embed_integrations.serve.target import resolve

if TYPE_CHECKING:
    from pathlib import Path


def folder(path: Path, architecture: str, model_type: str, **config: Any) -> Path:
    checkpoints.write_json(path / "config.json", {"architectures": [architecture], "model_type": model_type, **config})
    return path


def pooling(path: Path, **settings: Any) -> Path:
    kinds = ("Transformer", "Pooling")
    modules = [
        {"type": f"sentence_transformers.models.{kind}", "path": f"{at}_{kind}"} for at, kind in enumerate(kinds)
    ]
    checkpoints.write_json(path / "modules.json", modules)
    checkpoints.write_json(path / "1_Pooling" / "config.json", settings)
    return path


def test_a_known_name_tells_everything() -> None:
    target = resolve("Qwen/Qwen3-Embedding-0.6B")
    assert (target.task, target.architecture, target.pooling, target.context) == ("embed", "qwen3", "last", 32768)
    assert target.can_be_cut
    assert target.weights == 2 * 595_776_512


def test_a_short_name_is_loaded_by_its_hub_id() -> None:
    assert resolve("qwen3-reranker-4b").model == "Qwen/Qwen3-Reranker-4B"


def test_a_quantized_copy_is_loaded_as_it_is_named() -> None:
    target = resolve("someone/Qwen3-Embedding-8B-AWQ")
    assert target.model == "someone/Qwen3-Embedding-8B-AWQ"
    assert target.can_be_cut


def test_a_reranker_that_answers_yes_or_no_is_prompted() -> None:
    prompted = resolve("Qwen/Qwen3-Reranker-0.6B").prompted
    assert prompted is not None
    assert prompted.architecture == "qwen3"
    assert resolve("mixedbread-ai/mxbai-rerank-base-v1").prompted is None


def test_an_unknown_name_asks_for_its_task() -> None:
    with pytest.raises(InvalidInputError, match="--task embed"):
        resolve("BAAI/bge-m3")
    assert resolve("BAAI/bge-m3", task="embed").task == "embed"


def test_a_known_ancestor_stands_for_an_unknown_name() -> None:
    target = resolve("me/my-embedder", profile="Qwen/Qwen3-Embedding-0.6B")
    assert (target.model, target.task, target.can_be_cut) == ("me/my-embedder", "embed", True)
    with pytest.raises(UnknownModelError):
        resolve("me/my-embedder", profile="nothing-like-it")


def test_a_name_beside_its_profile_is_never_exchanged_for_the_profiles() -> None:
    assert resolve("my-fine-tune", profile="Qwen/Qwen3-Embedding-0.6B").model == "my-fine-tune"


def test_a_wrong_task_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="is made to embed"):
        resolve("Qwen/Qwen3-Embedding-0.6B", task="rerank")


def test_a_hosted_model_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="hosted model"):
        resolve("text-embedding-3-small")


def test_a_file_for_llama_cpp_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="llama-server"):
        resolve("Qwen/Qwen3-Embedding-0.6B-GGUF")


@pytest.mark.parametrize("missing", ["/no/such/folder", "./none", "a/b/c"])
def test_a_path_that_leads_nowhere_is_no_hub_id(missing: str) -> None:
    with pytest.raises(ModelLoadError, match="is no folder"):
        resolve(missing)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        resolve(str(tmp_path))


def test_a_folder_with_a_known_name_is_that_model(tmp_path: Path) -> None:
    target = resolve(str(folder(tmp_path / "Qwen3-Reranker-0.6B", "Qwen3ForCausalLM", "qwen3")))
    assert target.task == "rerank"
    assert target.prompted is not None


def test_a_link_counts_by_its_own_name(tmp_path: Path) -> None:
    link = tmp_path / "Qwen3-Embedding-0.6B"
    link.symlink_to(folder(tmp_path / "downloaded", "Qwen3ForCausalLM", "qwen3"))
    assert resolve(str(link)).can_be_cut


def test_a_folder_that_pools_embeds(tmp_path: Path) -> None:
    target = resolve(str(pooling(folder(tmp_path / "m", "BertModel", "bert"), pooling_mode_mean_tokens=True)))
    assert (target.task, target.pooling) == ("embed", "mean")


def test_pooling_may_be_written_as_one_word(tmp_path: Path) -> None:
    assert resolve(str(pooling(folder(tmp_path / "m", "X", "bert"), pooling_mode="lasttoken"))).pooling == "last"


def test_a_classification_head_reranks(tmp_path: Path) -> None:
    target = resolve(str(folder(tmp_path / "m", "XLMRobertaForSequenceClassification", "xlm-roberta")))
    assert (target.task, target.classifies, target.prompted) == ("rerank", True, None)


def test_a_language_model_that_ends_each_text_embeds(tmp_path: Path) -> None:
    assert resolve(str(checkpoints.qwen3(tmp_path / "m"))).task == "embed"


def test_a_language_model_that_could_do_either_asks(tmp_path: Path) -> None:
    made = str(checkpoints.qwen3(tmp_path / "m", append_eos=False))
    with pytest.raises(InvalidInputError, match="may embed or rerank"):
        resolve(made)
    prompted = resolve(made, task="rerank").prompted
    assert prompted is not None
    assert prompted.architecture == "qwen3"
    assert not resolve(made, task="embed").can_be_cut  # nobody says that it was trained to be


def test_a_language_model_whose_prompt_is_not_known_does_not_rerank(tmp_path: Path) -> None:
    made = str(folder(tmp_path / "m", "Qwen2ForCausalLM", "qwen2"))
    with pytest.raises(InvalidInputError, match="--profile NAME"):
        resolve(made, task="rerank")
    prompted = resolve(made, profile="mxbai-rerank-base-v2").prompted
    assert prompted is not None
    assert prompted.true_token == "1"  # noqa: S105 a token of text


def test_a_config_without_sizes_is_no_crash(tmp_path: Path) -> None:
    made = folder(tmp_path / "m", "X", "x", num_hidden_layers=2, num_attention_heads=4, hidden_size=None)
    assert resolve(str(made), task="embed").kv_bytes > 0


def test_jina_bert_is_told_from_bert(tmp_path: Path) -> None:
    made = folder(tmp_path / "m", "JinaBertModel", "bert", position_embedding_type="alibi")
    assert resolve(str(made)).architecture == "jina_bert"


def test_keys_and_values_are_counted_from_the_config(tmp_path: Path) -> None:
    made = folder(
        tmp_path / "m",
        "Qwen3Model",
        "qwen3",
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
    )
    assert resolve(str(made)).kv_bytes == 28 * 2 * 8 * 128 * 2


def in_the_hubs_cache(root: Path, model: str) -> Path:
    cache = root / f"models--{model.replace('/', '--')}"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("abc")
    return cache / "snapshots" / "abc"


def test_an_unknown_name_is_read_from_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    made = in_the_hubs_cache(tmp_path, "intfloat/multilingual-e5-large")
    pooling(folder(made, "XLMRobertaModel", "xlm-roberta"), pooling_mode_mean_tokens=True)
    target = resolve("intfloat/multilingual-e5-large")
    assert (target.model, target.task) == ("intfloat/multilingual-e5-large", "embed")
    assert (target.class_name, target.pooling) == ("XLMRobertaModel", "mean")


def test_a_known_name_is_the_same_on_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resolve("Qwen/Qwen3-Embedding-0.6B")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder(in_the_hubs_cache(tmp_path, "Qwen/Qwen3-Embedding-0.6B"), "Qwen3ForCausalLM", "qwen3")
    assert resolve("Qwen/Qwen3-Embedding-0.6B") == before


def test_a_fine_tune_reads_no_more_than_it_has_positions_for(tmp_path: Path) -> None:
    made = folder(tmp_path / "m", "Qwen3ForCausalLM", "qwen3", max_position_embeddings=2048)
    assert resolve(str(made), profile="Qwen/Qwen3-Reranker-0.6B").context == 2048


def test_contriever_embeds_without_being_told(tmp_path: Path) -> None:
    target = resolve(str(folder(tmp_path / "m", "Contriever", "bert")))
    assert (target.task, target.pooling) == ("embed", "mean")
