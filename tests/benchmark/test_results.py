from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from qwen_embed_integrations.benchmark.results import Results, SystemResult, write_whole
from qwen_embed_integrations.benchmark.significance import Interval

if TYPE_CHECKING:
    from pathlib import Path


def test_results_are_written_as_json_with_their_text_unescaped(tmp_path: Path) -> None:
    system = SystemResult("战国 (384)", "dense", {"k": None}, metrics={"nDCG@10": Interval(0.5, 0.4, 0.6)})
    Results("now", True, {}, {}, {}, {}, (system,)).write(tmp_path / "results.json")  # noqa: FBT003 a field
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    assert "战国 (384)" in text
    content = json.loads(text)
    assert content["format"] == 1
    assert content["systems"][0]["metrics"]["nDCG@10"] == {"mean": 0.5, "low": 0.4, "high": 0.6}


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "0" * 500_000)
    sizes, done = set(), threading.Event()

    def read() -> None:
        while True:
            sizes.add(len(path.read_text(encoding="utf-8")))
            if done.is_set():
                return

    reader = threading.Thread(target=read)
    reader.start()
    for digit in range(30):
        write_whole(path, str(digit % 10) * 500_000)
    done.set()
    reader.join()
    assert sizes == {500_000}


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208 names are wanted
