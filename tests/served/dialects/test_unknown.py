from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_embed_integrations import ServerInfo
from qwen_embed_integrations.served.dialects import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Callable


def test_it_is_the_only_one_that_is_not_known() -> None:
    assert [name for name, dialect in DIALECTS.items() if not dialect.is_known] == ["unknown"]


def test_an_instruction_goes_under_both_names(
    sends_the_instruction_as: Callable[[ServerInfo, set[str]], None],
) -> None:
    sends_the_instruction_as(ServerInfo(), {"instruct", "instruction"})
