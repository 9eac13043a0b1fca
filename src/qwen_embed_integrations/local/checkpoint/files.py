"""The files of a checkpoint: where they are, and that they are whole, safe and of a kind that loads rightly."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from qwen_embed_integrations.errors import ModelLoadError

# What is hashed of a file: this many bytes, in this many places.
_PIECE = 2**20
_PIECES = 64

# No code and no pickle: *.py and *.bin are never fetched.
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_UNWANTED = ["onnx/*", "openvino/*", "*.onnx.json"]
# Where sentence-transformers keeps its reader's settings, by the architecture of old.
READER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
# What shapes vectors beside weights and modules.
_SETTINGS = (
    "config.json",
    "modules.json",
    "config_sentence_transformers.json",
    *READER_FILES,
    *_TOKENIZERS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "adapter_config.json",
    "adapter_model.safetensors",
)


class CheckpointFiles:
    """A folder with a model in it.

    Attributes:
        name: The hub id, or the folder's own name; for messages, and to find the profile by.
        folder: Where it lies.
        config: Its `config.json`.
    """

    def __init__(self, model: str | Path, revision: str | None = None) -> None:
        self.folder = _locate(model, revision)
        self.name = _name(self.folder) if Path(model).expanduser().is_dir() else str(model)
        config = self.read_json("config.json")
        if not isinstance(config, dict):
            raise ModelLoadError(
                f"`model` {self.name!r} has no config.json in {self.folder}; a model folder holds config.json, "
                "tokenizer.json and *.safetensors."
            )
        self.config: dict[str, Any] = config
        self._refuse_unsafe_weights()
        self._require_tokenizer()

    @property
    def model_type(self) -> str:
        """The architecture family, as transformers names it; `jina_bert` for what is one and says `bert`."""
        # Markers: https://github.com/huggingface/sentence-transformers/issues/3140
        alibi = self.config.get("position_embedding_type") == "alibi"
        if alibi or self.config.get("feed_forward_type") in {"geglu", "reglu"}:
            return "jina_bert"
        return str(self.config.get("model_type", ""))

    def read_json(self, name: str) -> Any:
        """Return what a JSON file of the folder says, or None where there is none.

        Raises:
            ModelLoadError: If it is no JSON.
        """
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelLoadError(f"{path} is no JSON: {error}") from error

    def weight_files(self) -> list[Path]:
        """Return the files of weights that transformers reads, as far as they are there."""
        whole = self.folder / "model.safetensors"
        if whole.is_file():
            return [whole]
        index = self.read_json("model.safetensors.index.json") or {}
        shards = (self.folder / name for name in sorted(set(index.get("weight_map", {}).values())))
        return [path for path in shards if path.is_file()]

    def digest(self) -> str:
        """Return a short hash of what shapes vectors: settings, vocabulary and weights, wherever the folder lies.

        Files are read whole up to 64 MiB, and larger ones in 64 pieces spread over them, so that a retrained model of
        any size gets another digest without reading all of it. Files that are not read for vectors do not count.
        """
        modules = self.read_json("modules.json") or []
        folders = [str(module["path"]) for module in modules if isinstance(module, dict) and module.get("path")]
        names = {*_SETTINGS, *(f"{path}/{name}" for path in folders for name in ("config.json", "model.safetensors"))}
        names |= {path.relative_to(self.folder).as_posix() for path in self.weight_files()}
        hashed = hashlib.sha256()
        for name in sorted(names):
            path = self.folder / name
            if not path.is_file():
                continue
            size = path.stat().st_size
            hashed.update(f"{name} {size}".encode())
            with path.open("rb") as file:
                for piece in range(_PIECES):
                    file.seek(max(piece * _PIECE, piece * (size - _PIECE) // (_PIECES - 1)))
                    hashed.update(file.read(_PIECE))
        return hashed.hexdigest()[:16]

    def _refuse_unsafe_weights(self) -> None:
        weights = sorted(self.folder.glob("*.safetensors"))
        if not weights:
            pickled = sorted(path.name for pattern in ("*.bin", "*.pt") for path in self.folder.glob(pattern))
            if pickled:
                raise ModelLoadError(
                    f"`model` {self.name!r} has its weights in {', '.join(pickled)}, a pickle that could run code. "
                    "Convert it with transformers' save_pretrained, or take a revision with *.safetensors."
                )
            raise ModelLoadError(f"`model` {self.name!r} has no weights: no *.safetensors in {self.folder}.")

    def _require_tokenizer(self) -> None:
        # Without one of these transformers makes up an empty vocabulary, in which every word is unknown.
        if not any((self.folder / name).is_file() for name in _TOKENIZERS):
            raise ModelLoadError(
                f"`model` {self.name!r} has no tokenizer: none of {', '.join(_TOKENIZERS)} in {self.folder}. Copy it "
                "from where the weights come from."
            )


def _name(folder: Path) -> str:
    """Return a folder's name; of a snapshot in the hub's cache, the id of what was fetched."""
    place = folder.resolve()
    repository = place.parent.parent.name
    if place.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/", 1)
    return place.name


def _locate(model: str | Path, revision: str | None) -> Path:
    if not isinstance(model, (str, Path)) or not str(model).strip():
        raise ModelLoadError(f"`model` is {model!r}; pass a folder or a hub id.")
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    name = str(model)
    if isinstance(model, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelLoadError(f"`model` {name!r} is no folder.")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
    except HFValidationError as error:
        raise ModelLoadError(f"`model` {name!r} is neither a folder nor a hub id: {error}") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ModelLoadError(
            f"`model` {name!r} is no folder here, and the hub cannot be reached (or HF_HUB_OFFLINE is set) to fetch "
            "it. Pass the path of a downloaded model."
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelLoadError(f"`model` {name!r} could not be fetched from the hub: {error}") from error
