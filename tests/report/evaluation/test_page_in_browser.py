"""The page of an evaluation does what it should in a real browser, opened from the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from browser import browser, complaints, opened, requests
from tiny_record import CLASSES, box_record, box_samples, comparison_of, label_record, label_samples, write_record

from toolkit.report.evaluation.comparison import write_comparison_page
from toolkit.report.evaluation.page import write_evaluation_page


class Pages(NamedTuple):
    window: Any
    labels: Path
    boxes: Path
    compared: Path


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with browser() as window:
        files = []
        for kind, samples, make in (("labels", label_samples(9), label_record), ("boxes", box_samples(6), box_record)):
            scores = [1 - place / 10 for place in range(len(samples))]
            folder = write_record(make(samples), tmp_path_factory.mktemp(kind), scores)
            files.append(write_evaluation_page(folder, {sample.name: sample for sample in samples}.get))
        samples = label_samples(5)
        records = [label_record(samples, shift) for shift in (3, 1)]
        read = {sample.name: sample for sample in samples}.get
        files.append(write_comparison_page(folder, comparison_of(records, [0.1, -0.2, 0.3, 0.05, 0.0]), records, read))
        yield Pages(window, *files)


def run(window: Any, script: str) -> Any:
    return window.execute_script(script)


def shown(window: Any) -> list[str]:
    """Names of the cards of the first gallery that are seen, in their order."""
    return run(window, "return [...document.querySelector('.gallery').querySelectorAll('.cards .card')]"
               ".filter(card => card.offsetHeight).map(card => card.dataset.name)")  # fmt: skip


def choose(window: Any, selector: str, value: str) -> None:
    run(
        window,
        f"""const select = document.querySelector(".gallery {selector}");
        select.value = "{value}"; select.dispatchEvent(new Event("change"));""",
    )


def press(window: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(window).send_keys(*keys).perform()


@pytest.mark.parametrize("kind", ["labels", "boxes", "compared"])
@pytest.mark.parametrize("size", [(1200, 900), (390, 840)])
def test_a_page_opens_quietly_and_asks_for_nothing(pages: Pages, kind: str, size: tuple[int, int]) -> None:
    page = getattr(pages, kind)
    pages.window.set_window_size(*size)
    opened(pages.window, page)
    pictures = run(pages.window, "return [...document.images].filter(image => !image.naturalWidth).length")
    assert pictures == 0
    assert run(pages.window, "return document.documentElement.scrollWidth <= window.innerWidth")
    assert complaints(pages.window) == []
    assert requests(pages.window, page) == []
    pages.window.set_window_size(1200, 900)


def test_dark_and_light_are_the_readers_choice(pages: Pages) -> None:
    opened(pages.window, pages.labels)
    papers = []
    for scheme in ("light", "dark"):
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        pages.window.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        papers.append(run(pages.window, "return getComputedStyle(document.body).backgroundColor"))
    pages.window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert papers == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]


def test_a_click_on_a_heading_sorts_the_classes(pages: Pages) -> None:
    opened(pages.window, pages.labels)
    column = "return [...document.querySelector('table.sortable').tBodies[0].rows].map(row => row.cells[%d].%s)"
    heads = pages.window.find_elements("css selector", "table.sortable th button")[:2]
    assert run(pages.window, column % (0, "textContent")) == CLASSES
    heads[1].click()
    numbers = [float(text) for text in run(pages.window, column % (1, "dataset.value"))]
    assert numbers == sorted(numbers, reverse=True)
    heads[1].click()
    assert run(pages.window, column % (1, "dataset.value")) == [str(number) for number in sorted(numbers)]
    assert run(pages.window, "return document.querySelectorAll('table.sortable th')[1].ariaSort") == "ascending"
    heads[0].click()
    assert run(pages.window, column % (0, "textContent")) == sorted(CLASSES)


def test_cards_are_filtered_by_part_class_and_error_and_sorted(pages: Pages) -> None:
    opened(pages.window, pages.labels)
    everything = shown(pages.window)
    assert len(everything) == 9
    choose(pages.window, "[data-filter=part]", "best")
    assert shown(pages.window) == ["images/002.png", "images/001.png", "images/000.png"]
    choose(pages.window, "[data-filter=part]", "")
    choose(pages.window, "[data-filter=kind]", "boundary")
    bordered = shown(pages.window)
    assert 0 < len(bordered) < 9
    choose(pages.window, "[data-filter=class]", "1")
    assert set(shown(pages.window)) <= set(bordered)
    assert (
        run(pages.window, "return document.querySelector('.gallery output').value")
        == f"{len(shown(pages.window))} of 9"
    )
    choose(pages.window, "[data-filter=kind]", "")
    choose(pages.window, "[data-filter=class]", "")
    choose(pages.window, "[data-sort]", "falling")
    assert shown(pages.window) == sorted(everything)  # the best image is the first of the made-up data
    choose(pages.window, "[data-sort]", "rising")
    assert shown(pages.window) == sorted(everything, reverse=True)


def test_boxes_are_filtered_by_the_kind_of_their_error(pages: Pages) -> None:
    opened(pages.window, pages.boxes)
    choose(pages.window, "[data-filter=kind]", "missed")
    assert shown(pages.window) == ["4.jpg", "2.jpg", "0.jpg"]  # the made-up detector misses a dog in every other image
    choose(pages.window, "[data-filter=class]", "1")
    assert shown(pages.window) == []
    assert run(pages.window, "return document.querySelector('.nothing').offsetHeight > 0")


def test_compared_images_are_sorted_by_their_difference(pages: Pages) -> None:
    opened(pages.window, pages.compared)
    assert shown(pages.window) == [f"images/{place:03d}.png" for place in (1, 2, 0, 3)]  # the last one did not change
    choose(pages.window, "[data-sort]", "falling")
    assert shown(pages.window) == [f"images/{place:03d}.png" for place in (2, 0, 3, 1)]
    choose(pages.window, "[data-filter=part]", "worse")
    assert shown(pages.window) == ["images/001.png"]
    pages.window.find_element("css selector", ".toggle [data-view=after]").click()
    assert run(pages.window, "return document.querySelector('[aria-pressed=true]').textContent") == "second"


def test_the_view_is_toggled_by_button_and_key(pages: Pages) -> None:
    opened(pages.window, pages.labels)
    views = ("return [...document.querySelector('.gallery .card').querySelectorAll('figure')]"
             ".filter(view => view.offsetHeight).map(view => view.dataset.view)")  # fmt: skip
    assert run(pages.window, views) == ["image", "truth", "prediction", "error"]
    pages.window.find_element("css selector", ".toggle [data-view=error]").click()
    assert run(pages.window, views) == ["error"]
    press(pages.window, "2")
    assert run(pages.window, views) == ["truth"]
    assert run(pages.window, "return document.querySelector('[aria-pressed=true]').textContent") == "truth"
    press(pages.window, "0")
    assert len(run(pages.window, views)) == 4


def test_cards_are_walked_and_enlarged_by_keys(pages: Pages) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    opened(pages.window, pages.labels)
    names = shown(pages.window)
    run(pages.window, "document.querySelector('.gallery .card').focus()")
    press(pages.window, Keys.ARROW_RIGHT)
    assert run(pages.window, "return document.activeElement.dataset.name") == names[1]
    press(pages.window, Keys.ENTER)
    large = "return document.querySelector('dialog[open] .card')?.dataset.name ?? null"
    assert run(pages.window, large) == names[1]
    press(pages.window, Keys.ARROW_RIGHT)
    assert run(pages.window, large) == names[2]
    press(pages.window, Keys.ESCAPE)
    focus = "return document.querySelector('dialog[open]') ? '' : document.activeElement.dataset.name"
    WebDriverWait(pages.window, 5).until(lambda window: run(window, focus) == names[2])
    assert complaints(pages.window) == []
