from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import loopback
    from examinations import Examined, Start


def test_the_same_checkpoint_gives_the_same_vectors(start: Start, examined: Examined, embedding_folder: Path) -> None:
    finding = examined(start(), compare_with=str(embedding_folder))["reference"]
    assert finding.severity == "ok"
    assert finding.details["cosine"] > 0.999


def test_another_pooling_gives_other_vectors(start: Start, examined: Examined, embedding_folder: Path) -> None:
    assert examined(start(pooling="mean"), compare_with=str(embedding_folder))["reference"].severity == "wrong"


def test_the_same_checkpoint_gives_the_same_scores(start: Start, examined: Examined, tiny_folder: Path) -> None:
    assert examined(start(task="rerank"), compare_with=str(tiny_folder))["reference"].severity == "ok"


def test_a_folder_that_is_none_is_a_warning(start: Start, examined: Examined, tmp_path: Path) -> None:
    assert examined(start(), compare_with=str(tmp_path))["reference"].severity == "warning"


def test_a_model_path_on_this_machine_is_offered(start: Start, examined: Examined, tiny_folder: Path) -> None:
    def names_folder(request: loopback.Request, answer: loopback.Answer) -> loopback.Answer:
        status, body, headers = answer
        return (status, body | {"model_path": str(tiny_folder)}, headers) if request.path == "/model_info" else answer

    assert f"--reference {tiny_folder}" in examined(start(names_folder))["reference"].mend
