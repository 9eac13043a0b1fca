"""The lines of Python that connect to a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import UnknownModelError
from qwen_embed_integrations.profiles import profile_for

if TYPE_CHECKING:
    from qwen_embed_integrations.serving.target import Target


def connecting(target: Target, *, served_name: str, url: str, api_key_env: str | None) -> str:
    """Return Python that connects to a server.

    Args:
        target: What is served.
        served_name: Name the server knows the model by.
        url: Root address of the server.
        api_key_env: Environment variable with the server's key.

    Returns:
        Lines for the core and for LangChain.
    """
    embeds = target.task == "embed"
    core, langchain = ("Embedder", "ServedEmbeddings") if embeds else ("Reranker", "ServedRerank")
    known = target.profile.name if target.profile is not None and _loses_its_profile(target, served_name) else None
    names = f"{core}, profile_for" if known else core
    name = json.dumps(served_name, ensure_ascii=False)  # a Python string too
    rest = [f'base_url="{url}/v1"']
    if known:
        rest.append(f'profile=profile_for("{known}")')
    if api_key_env:
        rest.append(f'api_key=os.environ["{api_key_env}"]')
    settings = ", ".join(rest)
    lines = [
        f"from qwen_embed_integrations import {names}",
        f"from qwen_embed_integrations.langchain import {langchain}",
        "",
        f"{core.lower()} = {core}.served({name}, {settings})",
        f"{'embeddings' if embeds else 'compressor'} = {langchain}(model={name}, {settings})",
    ]
    return "\n".join(["import os", *lines] if api_key_env else lines)


def _loses_its_profile(target: Target, served_name: str) -> bool:
    """Whether the served name does not lead to the profile that the target has."""
    try:
        return profile_for(served_name) != target.profile
    except UnknownModelError:
        return True
