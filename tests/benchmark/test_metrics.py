from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval

from qwen_embed_integrations.benchmark.metrics import METRICS, evaluate
from qwen_embed_integrations.benchmark.ranking import ranked

TREC = {"nDCG@10": "ndcg_cut_10", "Recall@5": "recall_5", "Recall@10": "recall_10", "MRR@10": "recip_rank"}


def trec_eval(results: list[dict[str, float]], relevance: list[dict[str, int]]) -> dict[str, list[float]]:
    """Ask trec_eval itself; its reciprocal rank has no cutoff, so that sees the first ten only."""
    names = [str(index) for index in range(len(results))]
    evaluator = pytrec_eval.RelevanceEvaluator(
        dict(zip(names, relevance, strict=True)), {"ndcg_cut", "recall", "recip_rank"}
    )
    whole = evaluator.evaluate(dict(zip(names, results, strict=True)))
    tops = [{document: result[document] for document in ranked(result, 10)} for result in results]
    top = evaluator.evaluate(dict(zip(names, tops, strict=True)))
    return {
        ours: [(top if theirs == "recip_rank" else whole)[name][theirs] for name in names]
        for ours, theirs in TREC.items()
    }


@pytest.mark.parametrize("levels", [1000, 4], ids=["hardly any ties", "mostly ties"])
@pytest.mark.parametrize("grades", [1, 3], ids=["binary", "graded"])
def test_metrics_are_those_of_trec_eval(levels: int, grades: int) -> None:
    random = np.random.default_rng(levels + grades)
    documents = [f"d{index:03}" for index in range(120)]
    results, relevance = [], []
    for _ in range(200):
        found = random.choice(documents, random.integers(1, 40), replace=False)
        results.append({str(document): float(random.integers(levels)) / levels for document in found})
        judged = random.choice(documents, random.integers(1, 15), replace=False)
        grade = {str(document): int(random.integers(-1, grades + 1)) for document in judged}
        relevance.append({**grade, str(judged[0]): grades})
    ours, theirs = evaluate(results, relevance), trec_eval(results, relevance)
    for metric in METRICS:
        np.testing.assert_allclose(ours[metric], theirs[metric], atol=1e-9, err_msg=metric)


def test_a_query_without_results_counts_zero() -> None:
    values = evaluate([{}, {"a": 1.0}], [{"a": 1}, {"a": 1}])
    assert all(list(each) == [0.0, 1.0] for each in values.values())


def test_gains_are_linear() -> None:
    # 1 for the first, 3 / log2(3) for the second, against 3 + 1 / log2(3)
    values = evaluate([{"a": 2.0, "b": 1.0}], [{"a": 1, "b": 3}])
    assert values["nDCG@10"][0] == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))


def test_a_tie_gives_the_higher_id_the_better_place() -> None:
    values = evaluate([{"a": 1.0, "b": 1.0, "c": 1.0}], [{"a": 1}])
    assert values["MRR@10"][0] == pytest.approx(1 / 3)


def test_what_stands_below_the_tenth_place_counts_nothing() -> None:
    scores = {f"d{index:02}": float(-index) for index in range(20)}
    values = evaluate([scores], [{"d10": 1}])
    assert all(each[0] == 0 for each in values.values())
