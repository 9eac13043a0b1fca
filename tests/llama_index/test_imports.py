from __future__ import annotations

import subprocess
import sys

import qwen_embed_integrations.llama_index as names


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout  # noqa: S603


def test_a_missing_llama_index_names_the_pip_command() -> None:
    printed = run(
        "import sys\n"
        "sys.modules['llama_index.core'] = None\n"
        "try:\n"
        "    import qwen_embed_integrations.llama_index\n"
        "except ImportError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    assert printed.startswith("MissingExtraError")
    assert "pip install 'qwen-embed-integrations[llama-index]'" in printed


def test_served_classes_load_no_torch() -> None:
    printed = run(
        "import sys\n"
        "from qwen_embed_integrations.llama_index import ServedEmbedding\n"
        "ServedEmbedding('Qwen/Qwen3-Embedding-0.6B', base_url='http://localhost:1/v1')\n"
        "print([name for name in ('torch', 'transformers', 'langchain_core') if name in sys.modules])\n"
    )
    assert printed.strip() == "[]"


def test_all_names_are_there_and_sorted() -> None:
    assert names.__all__ == sorted(names.__all__)
    assert all(hasattr(names, name) for name in names.__all__)
