"""The lines of Python that connect to a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from qwen_embed_integrations.errors import UnknownModelError
from qwen_embed_integrations.profiles import profile_for

if TYPE_CHECKING:
    from qwen_embed_integrations.serve.target import Target


def client_snippet(target: Target, *, served_name: str, url: str, api_key_env: str | None) -> str:
    """Return Python that connects to a server.

    Args:
        target: What is served.
        served_name: Name the server knows the model by.
        url: Root address of the server.
        api_key_env: Environment variable with the server's key.

    Returns:
        Lines for the core and for LangChain, and for LlamaIndex as a comment, since few have both.
    """
    is_embedding = target.task == "embed"
    core, langchain = ("Embedder", "ServedEmbeddings") if is_embedding else ("Reranker", "ServedRerank")
    llama_index = "ServedEmbedding" if is_embedding else "ServedRerank"
    profile = _profile(target, served_name)
    names = f"{core}, profile_for" if profile else core
    name = json.dumps(served_name, ensure_ascii=False)  # a Python string too
    pairs = [f'base_url="{url}/v1"']
    if profile:
        pairs.append(f"profile={profile}")
    if api_key_env:
        pairs.append(f'api_key=os.environ["{api_key_env}"]')
    arguments = ", ".join(pairs)
    lines = [
        f"from qwen_embed_integrations import {names}",
        f"from qwen_embed_integrations.langchain import {langchain}",
        "",
        f"{core.lower()} = {core}.served({name}, {arguments})",
        f"{'embeddings' if is_embedding else 'compressor'} = {langchain}(model={name}, {arguments})",
        f"# LlamaIndex: from qwen_embed_integrations.llama_index import {llama_index}",
        f"# {llama_index}({name}, {arguments})",
    ]
    imports = ["from dataclasses import replace"] if target.other_size else []
    return "\n".join([*(["import os"] if api_key_env else []), *imports, *lines])


def _profile(target: Target, served_name: str) -> str | None:
    """Return an expression for the profile, where the served name does not lead to it."""
    if target.profile is None:
        return None
    known = f'profile_for("{target.profile.name}")'
    if target.other_size:
        return f"replace({known}, dimensions={target.other_size})"
    return known if _loses_its_profile(target, served_name) else None


def _loses_its_profile(target: Target, served_name: str) -> bool:
    """Whether the served name does not lead to the profile that the target has."""
    try:
        return profile_for(served_name) != target.profile
    except UnknownModelError:
        return True
