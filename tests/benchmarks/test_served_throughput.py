from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import served_throughput

if TYPE_CHECKING:
    from collections.abc import Callable


def test_every_client_is_measured_over_the_same_server(measure: Callable[..., Any]) -> None:
    figures = measure(served_throughput.main, texts=128, latency_ms=5, sizes="64,128")
    cases = list(dict.fromkeys(row["case"] for row in figures["rows"]))
    assert cases == ["base64 replies, at once", "float replies, at once", "base64 replies, 5 ms a request"]
    for case in cases:
        rows = [row for row in figures["rows"] if row["case"] == case]
        assert {row["contender"].partition(" ")[0].rstrip(",") for row in rows} == {
            "Embedder",
            "ServedEmbeddings",
            "ServedEmbedding",
            "OpenAIEmbeddings",
            "OpenAILikeEmbedding",
        }
        assert all(row["texts_per_second"] > 0 for row in rows)
        assert {row["size"] for row in rows} <= {64, 128}


def test_vectors_that_the_server_did_not_send_are_an_error() -> None:
    case = served_throughput.Case("any", "base64", 0.0, 64)
    with served_throughput.running_server(0.0) as url:
        bench = served_throughput.Bench(case, url, served_throughput.parser().parse_args([]))
        run = bench._run("a client", {64: lambda texts: [[0.0] * 1024] * len(texts)})
        with pytest.raises(AssertionError, match="a client returned other vectors"):
            run(64)


@pytest.mark.parametrize("options", ["--texts 0", "--sizes abc", "--sizes 64,0", "--latency-ms -1"])
def test_an_option_that_cannot_be_is_refused_by_name(options: str, refused: Callable[..., str]) -> None:
    assert f"argument {options.partition(' ')[0]}" in refused(served_throughput.main, options)
