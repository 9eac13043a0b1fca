from __future__ import annotations

import itertools
import re
import sys
import warnings
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from qwen_embed_integrations.benchmark.charts import interval_chart, latency_chart, scatter_chart
from qwen_embed_integrations.benchmark.results import Latency, SystemResult
from qwen_embed_integrations.benchmark.significance import Interval
from qwen_embed_integrations.errors import MissingExtraError

LONGEST = "mixedbread-ai/mxbai-embed-large-v1 (1024) + BM25 + a tail that no line holds"


def system(
    mean: float, milliseconds: float, *, half: float = 0.02, name: str | None = None, **stages: float
) -> SystemResult:
    times = {"total": milliseconds, **(stages or {"search": milliseconds})}
    return SystemResult(
        name=name or f"{mean} in {milliseconds}",
        kind="dense",
        settings={},
        metrics={"nDCG@10": Interval(mean, mean - half, mean + half)},
        latency={stage: Latency(time, 2 * time, 3 * time) for stage, time in times.items()},
    )


def draw_all(systems: list[SystemResult]) -> list[str]:
    return [interval_chart(systems), scatter_chart(systems), latency_chart(systems, write="{:.1f}".format)]


@dataclass
class Text:
    """A line of text and about the box it stands in."""

    content: str
    x: float
    y: float
    left: float
    right: float


class Plot:
    """One drawn plot, read back."""

    def __init__(self, element: ET.Element) -> None:
        self.element = element
        self.name = element.attrib["class"]
        self.width, self.height = (float(side) for side in element.attrib["viewBox"].split()[2:])
        self.texts = [_text(each) for each in element.iter("text")]
        self.dots = [
            (float(each.attrib["x"]), float(each.attrib["y"]))
            for each in element.iter("use")
            if "stroke: currentColor" not in each.attrib["style"]  # those are ticks
        ]

    def __contains__(self, content: str) -> bool:
        return content in [text.content for text in self.texts]

    def strokes(self, colour: str, property_: str = "stroke") -> list[np.ndarray]:
        """Return the corners of each path of a colour, shape `(corners, 2)`."""
        return [
            np.array(re.findall(r"[ML] (\S+) (\S+)", each.attrib["d"]), float)
            for each in self.element.iter("path")
            if f"{property_}: {colour}" in each.attrib.get("style", "")
        ]

    def x_axis(self) -> tuple[list[float], list[float]]:
        """Return the numbers on the lower axis and where they stand."""
        numbers = [text for text in self.texts if re.fullmatch(r"[\d.,]+", text.content)]
        lowest = max(text.y for text in numbers)
        ticks = [text for text in numbers if text.y == lowest]
        return [float(text.content.replace(",", "")) for text in ticks], [text.x for text in ticks]


def _text(element: ET.Element) -> Text:
    x, y, content = float(element.attrib["x"]), float(element.attrib["y"]), element.text or ""
    wide = 7.0 * len(content)
    anchor = re.search(r"text-anchor: (\w+)", element.attrib["style"])
    share = {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor[1] if anchor else "start"]
    if "rotate(-90" in element.attrib.get("transform", ""):
        wide = 13.0
    return Text(content, x, y, x - share * wide, x + (1 - share) * wide)


def plots(drawn: str) -> tuple[Plot, Plot]:
    wide, narrow = ET.fromstring(f"<page>{drawn}</page>")  # noqa: S314 our own
    return Plot(wide), Plot(narrow)


CLOSE = [system(0.7 + index * 0.0001, 20 + index * 0.01, embed=15, search=5) for index in range(7)] + [
    system(0.7, 20, name=LONGEST, search=1, rerank=19)
]


@pytest.mark.parametrize("drawn", draw_all(CLOSE), ids=["interval", "scatter", "latency"])
def test_each_plot_is_drawn_for_a_desk_and_for_a_phone(drawn: str) -> None:
    wide, narrow = plots(drawn)
    assert (wide.name, narrow.name) == ("wide", "narrow")
    assert wide.width > 2 * narrow.width
    for plot in (wide, narrow):
        assert plot.element.attrib["role"] == "img"
        assert plot.element.attrib["aria-label"]
        assert not {"width", "height"} & plot.element.attrib.keys()  # it fills its place


@pytest.mark.parametrize("drawn", draw_all(CLOSE), ids=["interval", "scatter", "latency"])
def test_no_text_stands_on_another_or_outside_the_plot(drawn: str) -> None:
    for plot in plots(drawn):
        assert len(plot.texts) > 8
        for text in plot.texts:
            assert text.left >= -4
            assert text.right <= plot.width + 4
            assert 8 <= text.y <= plot.height
        for one, other in itertools.combinations(plot.texts, 2):
            apart = abs(one.y - other.y) >= 12 or one.left >= other.right or other.left >= one.right
            assert apart, (plot.name, one, other)


def test_plots_take_the_colours_of_the_page() -> None:
    drawn = "".join(draw_all([system(0.5, 30, embed=10, search=20), system(0.6, 50, search=20, rerank=30)]))
    texts = [each.attrib["style"] for plot in plots_of(drawn) for each in plot.element.iter("text")]
    assert texts
    assert all("fill: currentColor" in style for style in texts)
    for name in ("accent", "embed", "search", "rerank"):
        assert f"var(--{name})" in drawn
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawn)) == {"#0072b2", "#d55e00"}  # the two systems' own
    assert "black" not in drawn
    assert "white" not in drawn


def plots_of(drawn: str) -> list[Plot]:
    return [Plot(each) for each in ET.fromstring(f"<page>{drawn}</page>")]  # noqa: S314 our own


def test_the_same_numbers_give_the_same_drawing() -> None:
    assert draw_all(CLOSE) == draw_all(CLOSE)


def test_plots_of_one_page_share_no_ids_and_find_their_own() -> None:
    seen: set[str] = set()
    for plot in plots_of("".join(draw_all(CLOSE))):
        ids = [each.attrib["id"] for each in plot.element.iter() if "id" in each.attrib]
        assert len(set(ids)) == len(ids)
        assert not seen & set(ids)
        seen.update(ids)
        values = [value for each in plot.element.iter() for value in each.attrib.values()]
        used = {found[1] for value in values if (found := re.fullmatch(r"url\(#(.+)\)", value))}
        used |= {each.attrib["href"].removeprefix("#") for each in plot.element.iter("use")}
        assert used
        assert used <= set(ids)


def test_plots_name_nothing_outside_the_page() -> None:
    drawn = "".join(draw_all(CLOSE))
    assert not re.search(r"https?:|<\?|<!|<metadata|<script|xmlns|@import", drawn)
    assert drawn.startswith("<svg")


def test_means_and_intervals_stand_where_the_axis_says() -> None:
    for plot in plots(interval_chart([system(0.5, 1), system(0.9, 1, half=0.05)])):
        slope, start = np.polyfit(*plot.x_axis(), 1)
        assert [x for x, _ in plot.dots] == pytest.approx([start + slope * 0.5, start + slope * 0.9], abs=0.1)
        assert plot.dots[0][1] < plot.dots[1][1]  # the first system stands first
        ends = [line[:, 0] for line in plot.strokes("var(--accent)") if len(line) == 2]
        expected = [[0.48, 0.52], [0.85, 0.95]]
        assert np.array(ends) == pytest.approx(start + slope * np.array(expected), abs=0.1)
        assert "0.500" in plot
        assert "0.900" in plot


def test_better_is_higher_and_slower_is_further_right_on_a_logarithmic_axis() -> None:
    for plot in plots(scatter_chart([system(0.5, 0.1), system(0.6, 1), system(0.9, 300)])):
        shown, places = plot.x_axis()
        slope, start = np.polyfit(np.log10(shown), places, 1)
        # Each shape stands in the plot and again in the legend below it.
        dots = sorted(plot.dots, key=lambda dot: dot[1])[:3]
        by_time = sorted(dots)
        assert [x for x, _ in by_time] == pytest.approx(start + slope * np.log10([0.1, 1, 300]), abs=0.1)
        assert [y for _, y in by_time] == sorted((y for _, y in dots), reverse=True)  # pixels count from the top


@pytest.mark.parametrize(
    "times", [(0.1, 1, 10), (3, 30), (3.2, 3.2), (0.12, 1500), (7, 9)], ids=lambda times: f"{times[0]}-{times[-1]}"
)
def test_the_time_axis_has_round_marks(times: tuple[float, ...]) -> None:
    for plot in plots(scatter_chart([system(0.5, time) for time in times])):
        marks, _ = plot.x_axis()
        assert 1 <= len(marks) <= 8
        assert all(f"{mark:e}"[0] in "125" and float(f"{mark:.0e}") == mark for mark in marks)


def test_stages_are_stacked_from_zero() -> None:
    for plot in plots(latency_chart([system(0.5, 30, embed=10, search=20), system(0.5, 5)], write="{:.1f}".format)):
        slope, start = np.polyfit(*plot.x_axis(), 1)
        (embed, *_), (search, _alone, *_) = (
            [bar[:, 0] for bar in plot.strokes(f"var(--{stage})", "fill")] for stage in ("embed", "search")
        )
        assert (embed.min(), embed.max()) == pytest.approx((start, start + slope * 10), abs=0.1)
        assert (search.min(), search.max()) == pytest.approx((start + slope * 10, start + slope * 30), abs=0.1)
        slow = [line[0, 0] for line in plot.strokes("currentColor; stroke-width: 2") if len(line) == 2][:2]
        assert slow == pytest.approx([start + slope * 60, start + slope * 10], abs=0.1)
        assert "30.0 ms" in plot


def test_the_legend_names_the_stages_that_there_are() -> None:
    wide, _ = plots(latency_chart([system(0.5, 30, embed=10, search=20)], write=str))
    assert "embed" in wide
    assert "rerank" not in wide
    assert "95 of 100 end before" in wide


def test_one_system_without_any_spread_can_be_drawn() -> None:
    for drawn in draw_all([system(1.0, 0.0, half=0)]):
        assert "1  1.0 in 0.0" in plots(drawn)[0]


def test_more_systems_than_colours_still_look_different() -> None:
    wide, _ = plots(scatter_chart([system(0.1 * index, index + 1.0) for index in range(10)]))
    looks = {(each.attrib["href"], each.attrib["style"]) for each in wide.element.iter("use")}
    assert len({look for look in looks if "currentColor" not in look[1]}) == 10


def test_names_are_shown_as_they_are_written() -> None:
    name = "$x^2$ <b> & 中文"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = interval_chart([system(0.5, 1, name=name)])
    assert f"1  {name}" in plots(drawn)[0]


def test_a_name_longer_than_its_line_is_cut() -> None:
    wide, _ = plots(interval_chart([system(0.5, 1, name=LONGEST)]))
    (shown,) = [text.content for text in wide.texts if "mxbai" in text.content]
    assert shown.endswith("…")
    assert LONGEST.startswith(shown[3:-1])


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"qwen-embed-integrations\[benchmark\]"):
        interval_chart([system(0.5, 1)])
