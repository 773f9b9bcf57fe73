"""The page in a real browser, offline, at the widths of a desktop and of a phone."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.report.page import write_report
from nas.report.results import read_results

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OFFLINE = ("quic", "background-networking", "component-update", "sync")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    *(f"--disable-{name}" for name in OFFLINE),
]
POSITIONS = """() => {
  const chart = document.getElementById("pareto"), box = chart.getBoundingClientRect(), full = chart._fullLayout;
  return Object.fromEntries(chart.data[3].customdata.map((id, i) => [id, [
    box.left + full.xaxis._offset + full.xaxis.d2p(chart.data[3].x[i]),
    box.top + full.yaxis._offset + full.yaxis.d2p(chart.data[3].y[i])]]));
}"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on the path")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield browser
        browser.close()


class Tab:
    """A tab with the report, and all that it complained of and asked for."""

    def __init__(self, browser: Any, run: Path, width: int, scheme: str = "light", anchor: str = "") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 860}, color_scheme=scheme)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(f"{(run / 'report.html').as_uri()}{anchor}")
        self.page.wait_for_selector("html[data-ready=true]", state="attached")

    def wait(self, condition: str) -> None:
        """Waits until an expression holds; from outside, because the page allows no evaluation of text."""
        for _ in range(200):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"not within ten seconds: {condition}")

    @property
    def shown(self) -> list[str]:
        """The models whose numbers and drawing can be seen."""
        return [
            article.get_attribute("data-model")
            for article in self.page.query_selector_all(".model")
            if article.query_selector("svg.drawing").is_visible() and article.query_selector("h3").is_visible()
        ]

    def other(self) -> str:
        """A model that is not shown, whose point no other one covers."""
        self.page.locator("#pareto").scroll_into_view_if_needed()
        places = self.page.evaluate(POSITIONS)

        def distance(name: str) -> float:
            x, y = places[name]
            return min(abs(x - u) + abs(y - v) for other, (u, v) in places.items() if other != name)

        return max((name for name in places if name not in self.shown), key=distance)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (360, "dark")])
def test_a_click_on_a_point_shows_its_architecture(browser: Any, run: Path, width: int, scheme: str) -> None:
    tab = Tab(browser, run, width, scheme)
    name = tab.other()
    before = tab.shown
    tab.page.mouse.click(*tab.page.evaluate(POSITIONS)[name])
    tab.wait(f"location.hash === '#{name}'")
    assert len(before) == 1
    assert tab.shown == [name] != before
    assert name in tab.page.locator(f"#heading-{name}").inner_text()
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.complaints == []
    assert tab.requests == [(run / "report.html").as_uri()]
    tab.page.close()


def test_a_link_to_a_model_opens_the_page_on_it(browser: Any, run: Path) -> None:
    for model in read_results(run).models[1:3]:
        tab = Tab(browser, run, 1280, anchor=f"#{model.id}")
        assert tab.shown == [model.id]
        tab.page.close()


def test_the_keyboard_goes_along_the_front(browser: Any, run: Path) -> None:
    names = [model.id for model in read_results(run).ordered]
    tab = Tab(browser, run, 1280, anchor=f"#{names[0]}")
    tab.page.locator("#pareto").focus()
    for expected in names[1:3]:
        tab.page.keyboard.press("ArrowRight")
        assert tab.shown == [expected]
    tab.page.keyboard.press("ArrowLeft")
    assert tab.shown == [names[1]]
    assert names[1] in tab.page.locator("#status").inner_text()
    tab.page.locator("#model-list").select_option(names[-1])
    assert tab.shown == [names[-1]]
    tab.page.close()


def test_headings_sort_the_table(browser: Any, run: Path) -> None:
    tab = Tab(browser, run, 1280)
    heading = tab.page.locator("#front thead button", has_text="Parameters")
    column = heading.evaluate("button => button.closest('th').cellIndex")
    for direction, reverse in (("ascending", False), ("descending", True)):
        heading.click()
        keys = tab.page.evaluate(
            f"[...document.querySelectorAll('#front tbody tr')].map(r => +r.cells[{column}].dataset.key)"
        )
        assert keys == sorted(keys, reverse=reverse)
        assert heading.evaluate("button => button.closest('th').ariaSort") == direction
    assert len(set(keys)) > 1
    tab.page.close()


def test_charts_follow_the_colour_scheme_and_the_width(browser: Any, run: Path) -> None:
    tab = Tab(browser, run, 1280)
    colour = "document.getElementById('pareto')._fullLayout.font.color"
    light, wide = tab.page.evaluate(colour), tab.page.evaluate("document.getElementById('pareto')._fullLayout.width")
    tab.page.emulate_media(color_scheme="dark")
    tab.wait(f"{colour} !== '{light}'")
    tab.page.set_viewport_size({"width": 390, "height": 860})
    tab.wait(f"document.getElementById('pareto')._fullLayout.width < {wide}")
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.complaints == []
    tab.page.close()


def test_what_lies_outside_the_chart_is_told(browser: Any, run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    text = (folder / "resolved.yaml").read_text()
    (folder / "resolved.yaml").write_text(text.replace("latency_ms: 0.6", "latency_ms: 40.0"))
    with sqlite3.connect(folder / "archive.sqlite") as connection:
        connection.execute("UPDATE trials SET objectives = json_set(objectives, '$.error', 0.9) WHERE number = 0")
    write_report(folder)
    tab = Tab(browser, folder, 1280)
    shown = json.loads(tab.page.locator("#data").text_content())["pareto"]
    above = sum(value > shown["axes"][1]["top"] for value in shown["evaluated"]["y"])
    assert tab.page.locator("#outside").inner_text().replace("\u00a0", " ") == (
        f"The bound of 40 ms lies outside the chart. {above} evaluated architectures lie above the chart."
    )
    assert 2 <= above <= 6
    assert not tab.page.evaluate("document.getElementById('pareto').layout.shapes.length")
    tab.page.close()


def test_bounds_are_drawn(browser: Any, run: Path) -> None:
    tab = Tab(browser, run, 1280)
    shapes = tab.page.evaluate("document.getElementById('pareto').layout.shapes.map(shape => [shape.x0, shape.x1])")
    assert shapes == [[0.6, 0.6]]
    assert "bound 0.6" in tab.page.locator("#pareto").inner_text()
    tab.page.close()
