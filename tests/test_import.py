from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

HEAVY = (
    "torch",
    "transformers",
    "openai",
    "langchain",
    "llama_index",
    "chromadb",
    "pydantic",
    "httpx",
    "httpx2",
    "tqdm",
)
BUDGET_S = 0.3


def run(program: str) -> str:
    """Run a program in a fresh interpreter and return what it prints."""
    ended = subprocess.run(  # noqa: S603 our own program
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run("import sys, qwen_embed_integrations; print(*sys.modules)").split()
    assert "qwen_embed_integrations.embedder" in loaded
    assert [name for name in loaded if name.startswith(HEAVY)] == []


def test_importing_the_package_is_fast() -> None:
    # Seconds of this process alone: a test beside it, or a busy machine, must not count.
    program = """
        from time import process_time
        start = process_time()
        import qwen_embed_integrations
        print(process_time() - start)
    """
    assert min(float(run(program)) for _ in range(5)) < BUDGET_S


def test_making_a_served_embedder_loads_no_torch_and_no_framework() -> None:
    program = """
        import sys
        from qwen_embed_integrations import Embedder, Reranker
        Embedder.served("Qwen/Qwen3-Embedding-0.6B", base_url="http://127.0.0.1:9")
        Reranker.served("Qwen/Qwen3-Reranker-0.6B", base_url="http://127.0.0.1:9")
        print(*sys.modules)
    """
    loaded = run(program).split()
    heavy = ("torch", "transformers", "langchain", "llama_index", "chromadb")
    assert [name for name in loaded if name.startswith(heavy)] == []


BLOCKED = """
    import sys
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {blocked!r}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    sys.meta_path.insert(0, Missing())
    try:
        {statement}
    except ImportError as error:
        print(type(error).__name__, error)
    else:
        print("imported")
"""


@pytest.mark.parametrize(
    ("blocked", "statement", "extra"),
    [
        ("torch", "import qwen_embed_integrations as q; q.Embedder.local('somewhere')", "local"),
        ("transformers", "import qwen_embed_integrations as q; q.Embedder.local('somewhere')", "local"),
        ("torch", "import qwen_embed_integrations as q; q.Reranker.local('somewhere')", "local"),
        ("langchain_core", "import qwen_embed_integrations.langchain", "langchain"),
        ("llama_index", "import qwen_embed_integrations.llama_index", "llama-index"),
    ],
)
def test_a_missing_extra_names_the_command_that_installs_it(blocked: str, statement: str, extra: str) -> None:
    if blocked == "transformers":
        pytest.importorskip("torch", reason="torch is looked for first")
    printed = run(BLOCKED.format(blocked={blocked}, statement=statement))
    assert printed.startswith("MissingExtraError")
    assert f"`{blocked}" in printed
    assert f"pip install 'qwen-embed-integrations[{extra}]'" in printed


def test_a_progress_bar_without_tqdm_names_the_command_that_installs_it() -> None:
    statement = (
        "from qwen_embed_integrations import Embedder; Embedder.served('text-embedding-3-small', "
        "base_url='http://127.0.0.1:9', show_progress=True).embed_documents(['a'])"
    )
    printed = run(BLOCKED.format(blocked={"tqdm"}, statement=statement))
    assert printed == "MissingExtraError `tqdm` is not installed. Run: pip install tqdm"


def test_the_core_imports_without_any_extra() -> None:
    blocked = {"torch", "transformers", "langchain_core", "llama_index", "chromadb", "safetensors", "rich", "typer"}
    statement = "import qwen_embed_integrations as q; q.Embedder.served('text-embedding-3-small', base_url='http://h')"
    assert run(BLOCKED.format(blocked=blocked, statement=statement)) == "imported"
