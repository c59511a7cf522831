"""The report as a browser shows it."""

import numpy as np
import pytest
import street_log
from browser import Browser

from driv3r.evaluation.merge import merge_scores
from driv3r.evaluation.records import RunResult
from driv3r.reporting.html import write_report

VIEW = "document.querySelector('details.view3d')"
CANVAS = f"{VIEW}.querySelector('canvas')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    tab = Browser(tmp_path_factory.mktemp("chromium"))
    yield tab
    tab.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    store = street_log.make_log(folder)
    log = street_log.read_result(store, folder / "report")
    scores = tuple(merge_scores([log.scores]))
    path = write_report(folder / "report", RunResult("A street", {}, (log,), scores))
    return path.as_uri()


def open_view(browser):
    browser.run(f"{VIEW}.open = true; {VIEW}.scrollIntoView()")
    browser.wait(f"!!{VIEW}.dataset.drawn")


def read_canvas(browser):
    """The canvas's own pixels [n 3], at the time that it says it shows."""
    browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    pixels = browser.run(f"""(() => {{ const gl = {CANVAS}.getContext('webgl2');
        const out = new Uint8Array(4 * gl.drawingBufferWidth * gl.drawingBufferHeight);
        gl.readPixels(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight, gl.RGBA,
        gl.UNSIGNED_BYTE, out); return Array.from(out.filter((_, i) => i % 4 < 3)); }})()""")
    return np.array(pixels, np.uint8).reshape(-1, 3).astype(int)


def count(pixels, low, high):
    return int(((pixels >= low) & (pixels <= high)).all(axis=1).sum())


def test_view_draws_map_path_and_the_object_where_the_slider_has_it(browser, page):
    browser.open(page, 700, 700)
    assert not browser.run(f"{VIEW}.dataset.begun")  # nothing is read before it is opened
    open_view(browser)
    start = read_canvas(browser)
    assert count(start, (150, 0, 0), (255, 90, 90)) > 0.02 * len(start)  # road
    assert count(start, (0, 150, 0), (90, 255, 90)) > 200  # wall
    assert count(start, (240, 240, 240), (255, 255, 255)) > 100  # the car and its path
    assert count(start, (240, 100, 40), (255, 140, 80)) > 30  # the object's box
    slider = f"{VIEW}.querySelector('[data-part=time]')"
    browser.run(f"{slider}.value = 1; {slider}.dispatchEvent(new Event('input'))")
    later = read_canvas(browser)
    assert browser.run(f"{VIEW}.dataset.drawn") == "1.00"
    assert np.mean((start != later).any(axis=1)) > 0.002
    assert browser.complaints() == []
    assert browser.requests() == [page]


def test_keys_step_play_and_turn(browser, page):
    browser.open(page, 700, 700)
    open_view(browser)
    browser.run(f"{CANVAS}.focus()")
    for _ in range(2):
        browser.key("ArrowRight", number=39)
    browser.wait(f"{VIEW}.dataset.drawn === '1.00'")  # two frames of half a second
    browser.key("ArrowLeft", number=37)
    browser.wait(f"{VIEW}.dataset.drawn === '0.50'")
    behind = read_canvas(browser)
    browser.key("b")
    assert np.mean((behind != read_canvas(browser)).any(axis=1)) > 0.05
    browser.key(" ", "Space", 32)
    browser.wait(f"+{VIEW}.dataset.drawn > 0.8")
    browser.key(" ", "Space", 32)
    assert browser.run(f"{VIEW}.querySelector('[data-part=play]').textContent") == "Play"
    assert browser.complaints() == []


def test_layers_and_colours_change_the_picture(browser, page):
    browser.open(page, 700, 700)
    open_view(browser)
    browser.run(f"{VIEW}.querySelector('[data-part=map]').click()")
    bare = read_canvas(browser)
    assert count(bare, (150, 0, 0), (255, 90, 90)) == count(bare, (0, 150, 0), (90, 255, 90)) == 0
    browser.run(f"{VIEW}.querySelector('[data-part=map]').click()")
    colour = f"{VIEW}.querySelector('[data-part=colour]')"
    browser.run(f"{colour}.value = 1; {colour}.dispatchEvent(new Event('change'))")
    assert count(read_canvas(browser), (150, 0, 0), (255, 90, 90)) == 0  # red is no height


def test_calm_readers_get_frames_and_no_glide(browser, page):
    browser.open(page, 700, 700, **{"prefers-reduced-motion": "reduce"})
    open_view(browser)
    browser.run(f"""window.seen = new Set(); new MutationObserver(() =>
        seen.add({VIEW}.dataset.drawn)).observe({VIEW}, {{attributes: true}})""")
    browser.run(f"{VIEW}.querySelector('[data-part=play]').click()")
    browser.wait(f"{VIEW}.dataset.drawn === '2.00'")
    assert set(browser.run("[...seen]")) <= {"0.00", "0.50", "1.00", "1.50", "2.00"}


@pytest.mark.parametrize("dark", [False, True])
def test_phone_scrolls_one_way_in_either_theme_and_every_picture_is_drawn(browser, page, dark):
    browser.open(page, 390, 844, dark=dark)
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    open_view(browser)
    assert browser.run("document.documentElement.scrollWidth") == 390
    wide = "[...document.querySelectorAll('table, .scroll, svg, img, canvas')]"
    assert browser.run(f"Math.max(...{wide}.map(e => e.getBoundingClientRect().right))") <= 390
    pictures = "[...document.querySelectorAll('img')]"
    assert browser.run(f"{pictures}.length") == 2
    assert browser.run(f"{pictures}.every(i => i.complete && i.naturalWidth > 100)")
    browser.run("scrollTo(0, 0)")
    corner = browser.screenshot()[:4, :4].astype(int).mean()
    assert corner < 60 if dark else corner > 200
    ink, paper = browser.run("""['color', 'backgroundColor'].map(p =>
        +getComputedStyle(document.body)[p].match(/\\d+/)[0])""")
    assert abs(ink - paper) > 150
    assert browser.complaints() == []


def test_a_picture_opens_large_and_closes(browser, page):
    browser.open(page, 1000, 700)
    width = "document.querySelector('.maps img').getBoundingClientRect().width"
    small = browser.run(width)
    browser.run("document.querySelector('.maps a').click()")
    assert browser.run(width) > 1.2 * small
    browser.run("document.querySelector('.maps .close').click()")
    assert browser.run(width) == small
