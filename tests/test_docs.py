from __future__ import annotations

import ast
import asyncio
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from langchain_core.load import loads
from llama_index.core import Settings

import checkpoints
import jina_checkpoints
import qwen_embed_integrations
from qwen_embed_integrations import Embedder, Reranker, RerankProfile, cli, errors, profile_for
from qwen_embed_integrations.profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import loopback

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
ROOT_PAGES = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
PACKAGE = Path(qwen_embed_integrations.__file__).parent
GUIDES = [page for page in sorted(DOCS.glob("*.md")) if "```python" in page.read_text(encoding="utf-8")]

_BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?: \"([^\"]*)\")?\)")


def blocks(page: Path) -> list[str]:
    return [textwrap.dedent(code) for _, code in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def section(page: Path, heading: str) -> str:
    return page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


# --- code on the pages -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Say what stands in for the models that the pages load in process."""
    reranker = tmp_path_factory.mktemp("models") / "Qwen3-Reranker-0.6B"
    return {
        "mixedbread-ai/mxbai-embed-large-v1": minilm,
        "Qwen/Qwen3-Reranker-0.6B": checkpoints.qwen3(reranker, append_eos=False),
    }


@pytest.fixture
def stand_ins(
    server: loopback.Server, reranker_server: loopback.Server, models: dict[str, Path]
) -> Callable[[str], str]:
    """Put these servers and models into code where it names others."""

    def local(found: re.Match[str]) -> str:
        return f"{found[1]}{str(models[found[2]])!r}"

    def put(code: str) -> str:
        served = code.replace("http://localhost:30000/v1", server.base_url)
        served = served.replace("http://localhost:30001/v1", reranker_server.base_url)
        found = re.sub(r'((?:Local\w+|\.local)\(\s*(?:model=)?)"([^"]+)"', local, served)
        if "allowed_objects" in inspect.signature(loads).parameters:
            return found
        return re.sub(r" *allowed_objects=.*\n", "", found)  # langchain-core 1.0 has none

    return put


@pytest.fixture
def run_code(
    stand_ins: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., str]]:
    """Run blocks of code one after the other, and return what they print."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Settings, "_embed_model", None)
    for variable in ("QWEN_EMBED_BASE_URL", "QWEN_EMBED_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    names: dict[str, Any] = {}

    def run(*codes: str) -> str:
        for code in codes:
            compiled = compile(stand_ins(code), "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            waiting = eval(compiled, names)  # noqa: S307 our own pages
            if inspect.iscoroutine(waiting):
                asyncio.run(waiting)
        return capsys.readouterr().out

    yield run
    for value in names.values():
        if type(value).__module__.startswith("qwen_embed_integrations"):
            getattr(value, "close", lambda: None)()


def readme_block(heading: str, at: int = 0) -> str:
    return _BLOCK.findall(section(README, heading))[at][1]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name)
def test_all_python_on_a_page_compiles(page: Path) -> None:
    for code in blocks(page):
        compile(code, name(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_readmes_served_langchain_block_finds_the_whale(run_code: Callable[..., str]) -> None:
    printed = run_code(readme_block("LangChain"))
    assert "blue whale" in printed
    assert "'relevance_score': 0.8" in printed
    assert "Bread" not in printed


def test_the_readmes_local_langchain_block_finds_the_whale(run_code: Callable[..., str]) -> None:
    printed = run_code(readme_block("LangChain", 1))
    assert "blue whale" in printed
    assert "Bread" not in printed


def test_the_readmes_served_llama_index_block_finds_the_whale(run_code: Callable[..., str]) -> None:
    printed = run_code(readme_block("LlamaIndex"))
    assert "blue whale" in printed
    assert "score=0.8" in printed
    assert "Bread" not in printed


def test_the_readmes_local_llama_index_block_finds_the_whale(run_code: Callable[..., str]) -> None:
    printed = run_code(readme_block("LlamaIndex", 1))
    assert "blue whale" in printed
    assert "Bread" not in printed


def test_the_readmes_block_without_a_framework_runs(run_code: Callable[..., str]) -> None:
    printed = run_code(readme_block("Without a framework"))
    assert re.search(r"requests=\d", printed)
    assert re.search(r"\[RankedDocument\(index=[01], score=0\.\d+\)\]", printed)


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_the_code_of_a_guide_runs_from_top_to_bottom(page: Path, run_code: Callable[..., str]) -> None:
    run_code(*blocks(page))


# --- facts on the pages ------------------------------------------------------------------------------------------


def _tables() -> Any:
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_models_are_what_the_profiles_say() -> None:
    tables = _tables()
    assert README in tables.PAGES
    for page in tables.PAGES:
        assert page.read_text(encoding="utf-8") == tables.filled(page), f"run python docs/tables.py: {name(page)}"


def test_models_that_run_in_process_are_of_architectures_that_load_there(tmp_path: Path) -> None:
    tables = _tables()
    rows = [row for row in (tables.models() + tables.rerankers()).splitlines() if row.endswith("| served, local |")]
    local = [profile_for(each) for row in rows for each in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert {profile.name for profile in local} == {profile.name for profile in PROFILES if profile.architecture}
    makers = {
        ("ModelProfile", "qwen3"): checkpoints.qwen3_embedding,
        ("ModelProfile", "bert"): checkpoints.bert_embedding,
        ("ModelProfile", "jina_bert"): jina_checkpoints.embedding_with_files,
        ("RerankProfile", "qwen3"): checkpoints.qwen3,
        ("RerankProfile", "qwen2"): checkpoints.qwen2,
        ("RerankProfile", "deberta-v2"): checkpoints.deberta_cross_encoder,
    }
    for profile in {(type(each).__name__, each.architecture): each for each in local}.values():
        folder = tmp_path / type(profile).__name__ / profile.name.rpartition("/")[2]
        makers[type(profile).__name__, profile.architecture or ""](folder)
        load = Reranker.local if isinstance(profile, RerankProfile) else Embedder.local
        with load(folder, device="cpu") as loaded:
            assert loaded.profile.architecture == profile.architecture


def test_every_error_has_its_row_in_the_guide() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "errors-and-long-texts.md").read_text(encoding="utf-8"), re.MULTILINE)
    known = {
        each.__name__
        for each in vars(errors).values()
        if inspect.isclass(each) and issubclass(each, (errors.QwenEmbedError, Warning))
    }
    assert set(rows) == known - {"QwenEmbedError"}


def test_every_extra_has_its_row_in_the_readme() -> None:
    known = importlib.metadata.metadata("qwen-embed-integrations").get_all("Provides-Extra") or []
    assert {extra for extra in known if f"`{extra}`" not in section(README, "Install")} == set()
    named = re.findall(r"^\| `([\w-]+)` \|", section(README, "Install"), re.MULTILINE)
    assert set(named) == set(known) - {"sglang"}


@pytest.mark.parametrize("page", [page for page in PAGES if "\nqwen-embed bench" in page.read_text()], ids=name)
def test_every_option_of_the_benchmark_on_a_page_exists(page: Path) -> None:
    command: Any = typer.main.get_command(cli.build_app())
    known = {option for each in command.commands["bench"].params for option in (*each.opts, *each.secondary_opts)}
    text = section(page, "The benchmark on your own data") or page.read_text(encoding="utf-8")
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text))
    assert used
    assert used <= known


def test_the_rooms_of_the_architecture_page_are_those_of_the_package() -> None:
    first_cells = re.findall(r"^\| (`[^|]+) \|", section(DOCS / "architecture.md", "The house"), re.MULTILINE)
    named = {place.rstrip("/") for cell in first_cells for place in re.findall(r"`([^`]+)`", cell)}
    rooms = {entry.name for entry in PACKAGE.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").is_file()}
    assert named == rooms - {"__init__.py"}


# --- pages and links ---------------------------------------------------------------------------------------------


def test_the_readme_is_short_enough_to_read() -> None:
    written = re.sub(r"<!-- ([\w-]+) -->.*?<!-- /\1 -->", "", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(written.splitlines()) <= 190


@pytest.mark.parametrize("page", [*PAGES, *ROOT_PAGES], ids=name)
def test_what_a_page_links_to_exists(page: Path) -> None:
    for target, title in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path = (page.parent / target.partition("#")[0]).resolve() if not target.startswith("#") else page
        assert path.is_file(), f"{name(page)}: {target}"
        if title.startswith("test_"):
            assert re.search(rf"^(async )?def {title}\(", path.read_text(encoding="utf-8"), re.MULTILINE), title


_OF_THE_ROOT = re.compile(r"(?<![\w/.-])(?:src|tests|docs|benchmarks|examples|\.github)/[\w./-]*")
_PYTHON_FILE = re.compile(r"(?<![\w/.-])[\w./-]*\w\.py\b")
# Of SGLang, as sources of facts.
_THEIRS = {
    "entrypoints/openai/protocol.py",
    "srt/entrypoints/http_server.py",
    "srt/managers/tokenizer_manager.py",
    "weight_utils.py",
}


@pytest.mark.parametrize("page", [*PAGES, *ROOT_PAGES], ids=name)
def test_a_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = {place for place in _OF_THE_ROOT.findall(text) if not (ROOT / place.rstrip(".")).exists()}
    for place in set(_PYTHON_FILE.findall(text)) - _THEIRS:
        if "/" not in place:  # its folder stands elsewhere on the page
            known = any(
                any((ROOT / folder).rglob(place)) for folder in ("src", "tests", "docs", "benchmarks", "examples")
            )
        else:
            known = any((root / place).is_file() for root in (ROOT, PACKAGE, page.parent))
        if not known:
            missing.add(place)
    assert {place for place in missing if "acme" not in place} == set()  # what a reader is to write is called so


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    offline = (
        "import socket\n"
        "def refuse(*_): raise OSError('the pages are built without a network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from mkdocs.__main__ import cli; cli()"
    )
    command = [sys.executable, "-c", offline, "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)  # noqa: S603 ours
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_pages_ask_no_other_host_for_anything(site: Path) -> None:
    loads_from_elsewhere = re.compile(
        r"""<(script|img|iframe)[^>]+src=["']?(https?:)?//"""
        r"""|<link(?=[^>]+rel=["']?(stylesheet|preconnect|preload))[^>]+href=["']?(https?:)?//"""
    )
    pages = list(site.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    assert [page for page in pages if loads_from_elsewhere.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("module", ["", ".langchain", ".llama_index", ".benchmark"])
def test_every_public_name_has_its_place_in_the_api_pages(module: str, site: Path) -> None:
    package = importlib.import_module(f"qwen_embed_integrations{module}")
    pages = "".join(page.read_text(encoding="utf-8") for page in (site / "api").rglob("*.html"))
    missing = [public for public in package.__all__ if f'id="{package.__name__}.{public}"' not in pages]
    assert missing == []


def test_every_error_has_its_place_in_the_api_pages(site: Path) -> None:
    page = (site / "api" / "errors" / "index.html").read_text(encoding="utf-8")
    public = [each for each in vars(errors) if each.endswith(("Error", "Warning"))]
    assert [each for each in public if f'id="{errors.__name__}.{each}"' not in page] == []
