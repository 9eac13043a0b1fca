from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import jinja2.sandbox
import pytest

from qwen_embed_integrations.profiles import RerankProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import Callable

QUERY, DOCUMENT = "who?\n{x}", " <b>He</b>\n"


def read(name: str) -> str:
    return (resources.files("qwen_embed_integrations.serve") / "templates" / name).read_text(encoding="utf-8")


def known(model: str) -> RerankProfile:
    profile = profile_for(model)
    assert isinstance(profile, RerankProfile)
    return profile


def as_sglang_does(template: str, instruction: str | None) -> str:
    """Render as SGLang 0.5.23 does: template_manager.py loads, serving_rerank.py renders."""
    loaded = template.strip("\n").replace("\\n", "\n")
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(autoescape=False)
    messages = [{"role": "user", "content": QUERY}, {"role": "user", "content": DOCUMENT}]
    given = {"instruct": instruction} if instruction else {}
    return environment.from_string(loaded).render(messages=messages, **given)


def as_vllm_does(template: str, instruction: str | None) -> str:
    """Render as vLLM 0.32 does, which leaves it to transformers."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    messages = [{"role": "query", "content": QUERY}, {"role": "document", "content": DOCUMENT}]
    given = {"instruction": instruction} if instruction else {}
    return environment.from_string(template).render(messages=messages, **given)


@pytest.mark.parametrize("instruction", [None, "Judge it"])
@pytest.mark.parametrize("render", [as_sglang_does, as_vllm_does])
@pytest.mark.parametrize("size", ["0.6B", "4B", "8B"])
def test_the_qwen3_template_renders_the_prompt_of_the_profile(
    size: str, render: Callable[[str, str | None], str], instruction: str | None
) -> None:
    profile = known(f"Qwen/Qwen3-Reranker-{size}")
    expected = profile.lead(QUERY, instruction) + DOCUMENT + profile.tail
    assert render(read("qwen3_reranker.jinja"), instruction) == expected


def test_sglang_recognises_the_qwen3_template_by_a_phrase() -> None:
    assert 'answer can only be "yes" or "no"' in read("qwen3_reranker.jinja")


@pytest.mark.parametrize("instruction", [None, "Judge it"])
@pytest.mark.parametrize("size", ["base", "large"])
def test_the_mxbai_template_renders_the_prompt_of_the_profile(size: str, instruction: str | None) -> None:
    profile = known(f"mixedbread-ai/mxbai-rerank-{size}-v2")
    expected = profile.lead(QUERY, instruction) + DOCUMENT + profile.tail
    assert as_vllm_does(read("mxbai_rerank_v2.jinja"), instruction) == expected
