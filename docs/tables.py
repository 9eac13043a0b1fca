"""Write the tables of models in README.md and docs/models.md from profiles.

Run it after a change of a profile; a test compares.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from qwen_embed_integrations.profiles import (
    PROFILES,
    ModelProfile,
    RerankProfile,
)

ROOT = Path(__file__).parents[1]
PAGES = {
    ROOT / "README.md": ("models", "rerankers"),
    ROOT / "docs" / "models.md": ("models", "rerankers", "names"),
}
_METHODS = {
    "token_logits": "two tokens of a prompt",
    "cross_encoder": "cross-encoder",
}


def models() -> str:
    """Write what embedding models give and want; alike models share a row."""
    profiles = [
        profile for profile in PROFILES if isinstance(profile, ModelProfile)
    ]
    prefixed = any(profile.document_prefix for profile in profiles)
    head = [
        "Model",
        "Dimensions",
        "Max tokens",
        "Pooling",
        "Put before a query",
        *(["Put before a document"] if prefixed else []),
        "Runs",
    ]
    rows = [
        [
            f"`{profile.name}`",
            _dimensions(profile),
            _number(profile.max_tokens),
            profile.pooling or "-",
            _query_prefix(profile),
            *([_code(profile.document_prefix)] if prefixed else []),
            _places(served_only=profile.architecture is None),
        ]
        for profile in profiles
    ]
    return _table(head, _joined(rows))


def rerankers() -> str:
    """Write what rerankers give and want; alike models share a row."""
    head = [
        "Reranker",
        "Max tokens",
        "Scores by",
        "Takes an instruction",
        "Runs",
    ]
    rows = [
        [
            f"`{profile.name}`",
            _number(profile.max_tokens),
            _METHODS[profile.method],
            "yes" if profile.takes_instruction else "no",
            _places(served_only=profile.architecture is None),
        ]
        for profile in PROFILES
        if isinstance(profile, RerankProfile)
    ]
    return _table(head, _joined(rows))


def names() -> str:
    """Write the size, the licence and the other names of each model."""
    rows = [
        [
            f"`{profile.name}`",
            _number(profile.parameters),
            profile.license or "-",
            ", ".join(f"`{alias}`" for alias in profile.aliases) or "-",
        ]
        for profile in PROFILES
    ]
    return _table(["Model", "Weights", "Licence", "Also known as"], rows)


_TABLES = {"models": models, "rerankers": rerankers, "names": names}


def filled(page: Path) -> str:
    """Return a page with its tables as they should be.

    Args:
        page: Holds `<!-- models -->` … `<!-- /models -->`, and so on.
    """
    text = page.read_text(encoding="utf-8")
    for name in PAGES[page]:
        before, opening, rest = text.partition(f"<!-- {name} -->\n")
        _, closing, after = rest.partition(f"<!-- /{name} -->")
        if not closing:
            raise ValueError(
                f"{page} has no <!-- {name} --> … <!-- /{name} -->"
            )
        text = f"{before}{opening}\n{_TABLES[name]()}\n\n{closing}{after}"
    return text


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _joined(rows: list[list[str]]) -> list[list[str]]:
    alike = groupby(rows, key=lambda row: row[1:])
    return [
        [", ".join(name for name, *_ in group), *rest]
        for rest, group in alike
    ]


def _dimensions(profile: ModelProfile) -> str:
    if profile.listed_dimensions:
        others = [
            size
            for size in profile.listed_dimensions
            if size != profile.dimensions
        ]
        return f"{profile.dimensions} ({', '.join(map(str, others))})"
    if profile.min_dimensions:
        return f"{profile.dimensions} ({profile.min_dimensions} up)"
    return str(profile.dimensions)


def _query_prefix(profile: ModelProfile) -> str:
    if profile.query_prefix == "{instruction}":
        # The instruction is all there is.
        default = profile.default_instruction
        return f"`{default}`" if default else "nothing, unless one is given"
    return _code(profile.query_prefix)


def _code(prefix: str) -> str:
    return f"`{prefix}`".replace("\n", r"\n") if prefix else "nothing"


def _places(*, served_only: bool) -> str:
    return "served" if served_only else "served, local"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def main() -> None:
    """Rewrite the tables."""
    for page in PAGES:
        page.write_text(filled(page), encoding="utf-8")


if __name__ == "__main__":
    main()
