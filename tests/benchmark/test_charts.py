from __future__ import annotations

import itertools

import pytest

from qwen_embed_integrations.benchmark.charts import interval_chart, latency_chart, scatter_chart
from qwen_embed_integrations.benchmark.results import Latency, SystemResult
from qwen_embed_integrations.benchmark.significance import Interval


def system(mean: float, milliseconds: float, *, half: float = 0.02, **stages: float) -> SystemResult:
    times = {"total": milliseconds, **(stages or {"search": milliseconds})}
    return SystemResult(
        name=f"{mean} in {milliseconds}",
        kind="dense",
        settings={},
        metrics={"nDCG@10": Interval(mean, mean - half, mean + half)},
        latency={stage: Latency(time, 2 * time, 3 * time) for stage, time in times.items()},
    )


def test_means_and_intervals_stand_where_the_axis_says() -> None:
    chart = interval_chart([system(0.5, 1), system(0.9, 1)])
    first, last = chart.ticks[0], chart.ticks[-1]
    assert (first.at, last.at) == (0, 100)
    low, high = float(first.text), float(last.text)
    assert low <= 0.48
    assert high >= 0.92
    for row, mean in zip(chart.rows, (0.5, 0.9), strict=True):
        assert row.mean == pytest.approx((mean - low) / (high - low) * 100)
        assert 0 <= row.low < row.mean < row.high <= 100


def test_ticks_are_few_and_written_apart() -> None:
    for spread in (0.001, 0.013, 0.2, 0.8):
        ticks = interval_chart([system(0.1, 1, half=0.0001), system(0.1 + spread, 1, half=0.0001)]).ticks
        assert 2 <= len(ticks) <= 9
        assert len({tick.text for tick in ticks}) == len(ticks)


def test_one_system_without_any_spread_can_be_drawn() -> None:
    alone = [system(1.0, 5, half=0)]
    assert 0 <= interval_chart(alone).rows[0].mean <= 100
    assert 0 < scatter_chart(alone).points[0].x < 100
    assert latency_chart(alone).bars[0].slow <= 100


def test_better_is_higher_and_slower_is_further_right() -> None:
    fast, slow = scatter_chart([system(0.5, 0.1), system(0.9, 300)]).points
    assert 0 < fast.x < slow.x < 100
    assert slow.y < fast.y
    assert slow.high < slow.y < slow.low  # pixels count from the top
    assert slow.on_left
    assert not fast.on_left


def test_labels_never_stand_in_one_line() -> None:
    chart = scatter_chart([system(0.7 + at * 0.0001, 5 + at) for at in range(10)] + [system(0.1, 5)])
    heights = sorted(point.label for point in chart.points)
    assert all(below - above >= 18 - 1e-9 for above, below in itertools.pairwise(heights))
    assert heights[-1] <= chart.height


def test_the_time_axis_is_logarithmic_with_round_marks() -> None:
    chart = scatter_chart([system(0.5, 0.1), system(0.6, 1), system(0.7, 10)])
    left, middle, right = (point.x for point in chart.points)
    assert middle - left == pytest.approx(right - middle)
    assert [tick.text for tick in chart.x_ticks] == ["0.1", "1", "10"]
    near = scatter_chart([system(0.5, 3), system(0.6, 30)])
    assert [tick.text for tick in near.x_ticks] == ["5", "10", "20"]


def test_stages_are_stacked_from_zero() -> None:
    chart = latency_chart([system(0.5, 30, embed=10, search=20), system(0.5, 5, search=5)])
    assert chart.stages == ("embed", "search")
    embed, search = chart.bars[0].segments
    assert embed.start == 0
    assert search.start == pytest.approx(embed.width)
    assert search.width == pytest.approx(2 * embed.width)
    assert chart.bars[0].slow == pytest.approx(2 * (embed.width + search.width))
    assert [segment.stage for segment in chart.bars[1].segments] == ["search"]
    assert chart.ticks[0].text == "0"
