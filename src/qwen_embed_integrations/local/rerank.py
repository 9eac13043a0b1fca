"""Reranking in this process: prompts whose last position says yes or no, and cross-encoders."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from qwen_embed_integrations.callers import warn_caller
from qwen_embed_integrations.errors import InvalidInputError, ModelLoadError, UnknownModelError, UnknownModelWarning
from qwen_embed_integrations.local.checkpoint.files import CheckpointFiles
from qwen_embed_integrations.local.checkpoint.tokenizer import Pair, Tokenizer, Tokens
from qwen_embed_integrations.local.checkpoint.tokenizer_checks import require_marks
from qwen_embed_integrations.local.device import choose_device, choose_dtype, choose_token_budget
from qwen_embed_integrations.local.engine import LocalEngine
from qwen_embed_integrations.local.forward.packed import (
    padded,
    reads_forward,
    runs_packed,
    runs_side_by_side,
    token_states,
)
from qwen_embed_integrations.local.forward.transfer import to_host
from qwen_embed_integrations.local.loading import load_model
from qwen_embed_integrations.profiles import ModelProfile, RerankProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from qwen_embed_integrations.engine import Batch
    from qwen_embed_integrations.local.scheduler.worker import Compute, Pending
    from qwen_embed_integrations.options import LocalOptions
    from qwen_embed_integrations.vectors import Float32

    # Tokenizes documents with their query and instruction.
    Pairing = Callable[[str, str | None, Sequence[str]], Tokens]


class LocalRerankEngine(LocalEngine):
    """Scores documents against a query in this process.

    Attributes:
        profile: What the model wants.
    """

    def __init__(
        self,
        profile: RerankProfile,
        compute: Compute,
        pair: Pairing,
        token_budget: int,
        *,
        padded: bool,
        shares_prefix: bool,
        side_by_side: bool,
    ) -> None:
        super().__init__(compute, token_budget, padded=padded, shares_prefix=shares_prefix, side_by_side=side_by_side)
        self.profile = profile
        self._pair = pair

    @classmethod
    def load(cls, model: str | Path, profile: RerankProfile | None, options: LocalOptions) -> LocalRerankEngine:
        """Load a model; see `Reranker.local`."""
        place = choose_device(options.device)
        precision = choose_dtype(options.dtype, place)
        budget = choose_token_budget(options.token_budget, place)
        files = CheckpointFiles(model, options.revision)
        if files.model_type == "jina_bert":  # as the plain BERT its config names, it would be half random
            raise ModelLoadError(
                f"`model` {files.name!r} is a JinaBERT, which is loaded for embeddings only (Embedder.local), not as a "
                "reranker. Serve it where its own code runs, and use Reranker.served."
            )
        known = profile or _read_profile(files)
        tokenizer = Tokenizer(files, max_tokens=known.max_tokens, long_text=options.long_text)
        if known.method == "token_logits":
            require_marks(files, tokenizer.raw, known.lead("") + known.tail)
            classifies = str((files.config.get("architectures") or [""])[0]).endswith("ForSequenceClassification")
            auto_class = AutoModelForSequenceClassification if classifies else AutoModelForCausalLM
            loaded = load_model(auto_class, files, device=place, dtype=precision)
            if classifies:
                _require_one_label(files, loaded)
            compute = _token_logits(loaded, _head(loaded, known, tokenizer), tokenizer.pad)
            pair: Pairing = partial(_prompts, known, tokenizer)
        else:
            loaded = load_model(AutoModelForSequenceClassification, files, device=place, dtype=precision, packs=False)
            _require_plain_pairs(files)
            _require_one_label(files, loaded)
            typed = "token_type_ids" in tokenizer.raw.model_input_names
            compute = _cross_encoder(loaded, tokenizer.pad, _activation(files), typed=typed)
            pair = partial(_pairs, tokenizer)
        base = cast("PreTrainedModel", loaded.base_model)
        packed = known.method == "token_logits" and runs_packed(base)
        return cls(
            known,
            compute,
            pair,
            budget,
            padded=not packed,
            shares_prefix=packed and reads_forward(base),
            side_by_side=packed and runs_side_by_side(base),
        )

    def rerank(self, query: str, documents: Sequence[str], instruction: str | None) -> Iterator[Batch]:
        """Yield scores in parts."""
        return self.run(documents, partial(self._pair, query, instruction))

    def arerank(self, query: str, documents: Sequence[str], instruction: str | None) -> AsyncGenerator[Batch, None]:
        """Yield scores in parts."""
        return self.arun(documents, partial(self._pair, query, instruction))


def _read_profile(files: CheckpointFiles) -> RerankProfile:
    try:
        found = profile_for(files.name)
    except UnknownModelError:
        found = None
    modules = files.read_json("modules.json") or ()
    pools = any(str(module.get("type", "")).endswith("Pooling") for module in modules)
    if isinstance(found, ModelProfile) or (found is None and pools):
        raise ModelLoadError(
            f"`model` {files.name!r} is an embedding model; use Embedder.local, or "
            "Reranker.over(Embedder.local(...)) to rerank by its vectors."
        )
    if found is not None:
        return found
    architecture = str((files.config.get("architectures") or [""])[0])
    if architecture.startswith("Qwen3For"):
        warn_caller(
            f"`model` {files.name!r} has no profile; it is prompted as Qwen3-Reranker is. Pass `profile=` if it was "
            "trained otherwise.",
            UnknownModelWarning,
        )
        qwen3 = profile_for("Qwen/Qwen3-Reranker-0.6B")
        if isinstance(qwen3, RerankProfile):
            return replace(qwen3, name=files.name, parameters=None)
    if architecture.endswith("ForSequenceClassification"):
        return RerankProfile(name=files.name, architecture=files.model_type)
    raise ModelLoadError(
        f"`model` {files.name!r} is a {architecture or 'nameless architecture'}, which is no known reranker. Qwen3 "
        "rerankers and sequence-classification cross-encoders are; others need profile=RerankProfile(...)."
    )


# --- a prompt whose last position says yes or no -----------------------------------------------------------------


def _head(model: PreTrainedModel, profile: RerankProfile, tokenizer: Tokenizer) -> torch.Tensor:
    """Return the direction whose product with the last state is logit(true) - logit(false), in float32."""
    score = getattr(model, "score", None)
    if score is not None:  # a conversion that kept only this direction
        row: torch.Tensor = score.weight.float().squeeze(0)
        return row
    rows = [tokenizer.raw.convert_tokens_to_ids(token) for token in (profile.true_token, profile.false_token)]
    if any(row is None or row == tokenizer.raw.unk_token_id for row in rows):
        raise ModelLoadError(
            f"{profile.name} compares the tokens {profile.true_token!r} and {profile.false_token!r}, and the tokenizer "
            "does not have both."
        )
    true, false = cast("Any", model).get_output_embeddings().weight[rows].float()
    return torch.as_tensor(true - false)


def _token_logits(model: PreTrainedModel, head: torch.Tensor, pad: int) -> Compute:
    base = cast("PreTrainedModel", model.base_model)

    @torch.inference_mode()
    def compute(sequences: Sequence[list[int]]) -> Float32 | Pending:
        # Only the last position and two rows of the vocabulary matter, and the query is read once for all documents.
        return to_host(torch.sigmoid(token_states(base, sequences, pad, wanted="last").last().float() @ head))

    return compute


def _prompts(
    profile: RerankProfile,
    tokenizer: Tokenizer,
    query: str,
    instruction: str | None,
    documents: Sequence[str],
) -> Tokens:
    # As in the official recipes (QwenLM/Qwen3-Embedding README, mixedbread-ai/mxbai-rerank mxbai_rerank_v2.py): the
    # prompt's pieces are tokenized apart, and only the one that holds the document is cut.
    before, after = profile.pieces(query, instruction)
    *opening, lead = before
    tail, *closing = after
    head, asked, end = (
        [token for piece in pieces for token in tokenizer.raw.encode(piece, add_special_tokens=False)]
        for pieces in (opening, [lead], closing)
    )
    taken = len(head) + len(asked) + len(end)
    if taken >= tokenizer.max_tokens:
        raise InvalidInputError(
            f"`query` and the prompt around it have {taken} tokens; the model reads {tokenizer.max_tokens}, so nothing "
            "of a document would be left. Shorten the query.",
            parameter="query",
        )
    bodies = tokenizer.encode(
        [lead + document + tail for document in documents],
        reserved=len(head) + len(end),
        parameter="documents",
        # In a prompt of many pieces this is one among others, and nothing ends with it.
        special_tokens=isinstance(profile.body, str),
    )
    return Tokens([head + body + end for body in bodies.sequences], bodies.shortened)


# --- a classification head over the pair -------------------------------------------------------------------------


def _cross_encoder(
    model: PreTrainedModel, pad: int, activation: Callable[[torch.Tensor], torch.Tensor], *, typed: bool
) -> Compute:
    @torch.inference_mode()
    def compute(pairs: Sequence[Pair]) -> Float32 | Pending:
        ids, mask = padded([pair.ids for pair in pairs], pad, model.device)
        types, _ = padded([pair.types for pair in pairs], 0, model.device)
        logits = model(input_ids=ids, attention_mask=mask, **({"token_type_ids": types} if typed else {})).logits
        return to_host(activation(logits[:, 0].float()))

    return compute


def _pairs(tokenizer: Tokenizer, query: str, _instruction: str | None, documents: Sequence[str]) -> Tokens:
    return tokenizer.encode_pairs(query, documents)


def _activation(files: CheckpointFiles) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what turns logits into scores: the checkpoint's own choice, else a sigmoid, as CrossEncoder does."""
    own = files.read_json("config_sentence_transformers.json") or {}
    stored = own.get("activation_fn") or (files.config.get("sentence_transformers") or {}).get("activation_fn")
    name = str(stored or files.config.get("sbert_ce_default_activation_function") or "torch.nn.Sigmoid")
    activation = getattr(torch.nn, name.rpartition(".")[2], None) if name.startswith("torch.nn.") else None
    if activation is None:
        raise ModelLoadError(f"`model` {files.name!r} asks for the activation {name!r}, which is not one of torch's.")
    made: Callable[[torch.Tensor], torch.Tensor] = activation()
    return made


def _require_plain_pairs(files: CheckpointFiles) -> None:
    own = files.read_json("config_sentence_transformers.json") or {}
    prompt = (own.get("prompts") or {}).get(own.get("default_prompt_name"))
    if prompt:
        raise ModelLoadError(
            f"`model` {files.name!r} puts the prompt {prompt!r} before its pairs, which is not supported for "
            "cross-encoders."
        )


def _require_one_label(files: CheckpointFiles, model: PreTrainedModel) -> None:
    if model.config.num_labels != 1:
        raise ModelLoadError(
            f"`model` {files.name!r} classifies into {model.config.num_labels} labels; a reranker has one."
        )
