from __future__ import annotations

import subprocess
import sys

from qwen_embed_integrations import langchain


def _python(script: str) -> str:
    return subprocess.run(  # noqa: S603 its own script
        [sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=60
    ).stdout


def test_all_names_are_sorted_and_exist() -> None:
    assert langchain.__all__ == sorted(langchain.__all__)
    assert all(hasattr(langchain, name) for name in langchain.__all__)


def test_without_langchain_core_the_error_names_the_pip_command() -> None:
    script = """
import sys
sys.modules["langchain_core"] = None
try:
    import qwen_embed_integrations.langchain
except ImportError as error:
    print(type(error).__name__, error)
"""
    printed = _python(script)
    assert printed.startswith("MissingExtraError")
    assert "pip install 'qwen-embed-integrations[langchain]'" in printed


def test_importing_loads_no_model_framework() -> None:
    script = """
import sys
import qwen_embed_integrations.langchain
print(sorted({"torch", "transformers", "chromadb", "llama_index", "openai"} & set(sys.modules)))
"""
    assert _python(script).strip() == "[]"
