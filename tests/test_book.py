"""The built book, as a reader meets it: built with warnings as errors, opened in a real browser."""

import functools
import http.server
import os
import shutil
import threading
import urllib.parse

import pytest
from bs4 import BeautifulSoup

from lib import book

pytestmark = pytest.mark.slow

PAGES = book.pages()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
).split()
SCREENS = {"a phone, dark": (390, "dark"), "a desk, light": (1280, "light")}
BROKEN_IMAGES = """() => [...document.querySelectorAll('article img')]
    .filter(img => !(img.complete && img.naturalWidth > 0)).map(img => img.src)"""

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
each_page = pytest.mark.parametrize("page", PAGES)


@pytest.fixture(scope="module")
def html(executed):
    """Folder of the built tiny book; building it is the first test."""
    return book.build("tiny", executed).parent


@pytest.fixture(scope="module")
def soups(html):
    """Every page that was written, parsed, by its path in the book."""
    files = sorted(file for file in html.rglob("*.html") if "_static" not in file.parts)
    return {str(f.relative_to(html)): BeautifulSoup(f.read_text(), "html.parser") for f in files}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Keep the requests out of the test's output."""


@pytest.fixture(scope="module")
def address(html):
    """The book, served on this machine only."""
    handler = functools.partial(Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium
        chromium.close()


def visit(browser, address, page, **options):
    """Open a page in a fresh context; gives the tab and what went wrong on the way."""
    tab = browser.new_context(**options).new_page()
    faults = []
    tab.on("console", lambda m: m.type == "error" and faults.append(f"console: {m.text}"))
    tab.on("pageerror", lambda error: faults.append(f"script: {error}"))
    tab.on("request", lambda r: own(r.url, address) or faults.append(f"left the host: {r.url}"))
    tab.on("response", lambda r: r.ok or faults.append(f"{r.status}: {r.url}"))
    tab.goto(f"{address}{page}.html", wait_until="networkidle")
    return tab, faults


def own(url, address):
    return url.startswith((address, "data:", "blob:"))


def test_what_needs_the_book_stays_in_one_process(request):
    """With some versions of pytest its plugin forgets the groups, and says nothing."""
    assert "PYTEST_XDIST_WORKER" not in os.environ or "@" in request.node.nodeid


def test_index_leads_to_the_first_page(html):
    assert PAGES[0] in (html / "index.html").read_text()


def test_every_page_is_there(soups):
    assert [page for page in PAGES if f"{page}.html" not in soups] == []


def test_every_module_is_documented_on_a_page_of_its_own(soups):
    names = [path.stem for path in (book.ROOT / "lib").glob("*.py") if path.stem != "__init__"]
    pages = {name: str(soups.get(f"book/library/lib.{name}.html")) for name in names}
    assert [name for name in names if f'id="module-lib.{name}"' not in pages[name]] == []


def test_the_general_index_has_concepts(soups):
    entries = {entry.get_text() for entry in soups["genindex.html"].select("article a")}
    assert {"CKA", "oracle", "window", "selectivity", "supertag", "random-init baseline"} <= entries


def test_titles_are_numbered_as_the_files_are(soups):
    for page in PAGES:
        number = page.removeprefix("notebooks/")[:2]
        if page.startswith("notebooks/") and number != "00":
            assert soups[f"{page}.html"].select_one("article h1").get_text().startswith(number)


def test_header_cells_say_what_they_head(soups):
    bare = [
        (name, th) for name, s in soups.items() for th in s.select("article table th:not([scope])")
    ]
    assert bare == []


def test_tables_have_rows_and_one_row_of_headers(soups):
    """What has no run is a sentence, and no second row of headers names the index alone."""
    for page in PAGES:
        for table in soups[f"{page}.html"].select("article table.dataframe"):
            assert table.select("tbody tr"), (page, table.get_text(" ")[:80])
            assert len(table.select("thead tr")) == 1, (page, table.get_text(" ")[:80])


def test_what_papermill_put_in_is_not_shown(soups):
    shown = [page for page in PAGES if "# Parameters\n" in soups[f"{page}.html"].get_text()]
    assert shown == []


def test_small_copies_of_figures_are_described_as_the_figures_are(soups):
    there = {img["alt"] for page in PAGES for img in soups[f"{page}.html"].select("figure img")}
    for page in ("book/index", "book/papers-figures"):
        copies = soups[f"{page}.html"].select(".drawn img")
        assert copies and {img["alt"] for img in copies} <= there


def test_every_published_table_is_on_the_page_of_the_papers_figures(soups):
    text = soups["book/papers-figures.html"].get_text(" ")
    files = (book.ROOT / "lib/published").glob("*.csv")
    assert [file.stem for file in files if file.stem not in text.split()] == []


def test_each_page_has_one_title(soups):
    assert [page for page in PAGES if len(soups[f"{page}.html"].find_all("h1")) != 1] == []


def test_figures_are_links_to_the_picture(soups, html):
    for page in PAGES:
        for img in soups[f"{page}.html"].select("article figure img"):
            link = img.find_parent("a")
            assert link and (html / page).parent.joinpath(link["href"]).resolve().is_file(), img


def test_pages_with_records_link_to_their_data(soups, html):
    for page in PAGES:
        for link in soups[f"{page}.html"].select("p.data a"):
            file = (html / page).parent.joinpath(link["href"]).resolve()
            assert file.read_text(encoding="utf-8").count("\n") >= 2, "a header and a run"
    for page in (page for page in PAGES if page.startswith("notebooks/")):
        own = page == "notebooks/13_your_model"  # draws the reader's own runs
        assert own or soups[f"{page}.html"].select("p.data a"), page


def test_every_claim_has_a_row_on_the_scoreboard_and_an_anchor(soups):
    links = soups["notebooks/00_scoreboard.html"].select("article table a[href*='#claim-']")
    claims = {link["href"].split("#")[1] for link in links}
    assert claims == {f"claim-a{n}" for n in range(1, 6)} | {f"claim-b{n}" for n in range(1, 11)}
    assert soups["book/index.html"].select("article table a[href*='#claim-b1']")


def test_every_page_says_which_build_it_is(soups):
    for page in PAGES:
        assert "tiny" in soups[f"{page}.html"].select_one(".bd-header-announcement").get_text()


def test_no_link_or_anchor_is_broken(soups, html):
    broken = []
    for name, soup in soups.items():
        for tag in soup.find_all(href=True):
            target = urllib.parse.urlsplit(urllib.parse.urljoin(f"http://book/{name}", tag["href"]))
            if target.netloc != "book":
                continue
            path = urllib.parse.unquote(target.path).lstrip("/")
            there = (html / path).is_file()
            if there and target.fragment and path in soups:
                anchor = urllib.parse.unquote(target.fragment)
                there = soups[path].find(id=anchor) or soups[path].find(attrs={"name": anchor})
            if not there:
                broken.append(f"{name} -> {tag['href']}")
    assert broken == []


def test_nothing_is_loaded_from_another_host(soups):
    """A link may lead away; a script, a style, an image or a frame may not come from there."""
    loaded = [
        (name, tag.get("src") or tag.get("href"))
        for name, soup in soups.items()
        for tag in soup.find_all(["script", "link", "img", "iframe", "source"])
        if urllib.parse.urlsplit(tag.get("src") or tag.get("href") or "").netloc
    ]
    assert loaded == []


def test_no_path_of_the_building_machine_is_shown(soups):
    home = str(book.ROOT)
    assert [name for name, soup in soups.items() if home in soup.get_text()] == []


def test_figures_are_numbered_and_described(soups):
    for page in PAGES:
        for figure in soups[f"{page}.html"].select("article figure"):
            assert figure.select_one(".caption-number"), (page, figure.get("id"))
        for img in soups[f"{page}.html"].select("article img"):
            assert len(img.get("alt", "").split()) > 2, (page, img["src"])


def test_a_build_links_to_the_same_page_of_the_builds_that_are_there(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(book.ROOT / "book/_ext")
    import pages

    html = {name: tmp_path / "_build" / name / "_build/html" for name in ("tiny", "small")}
    assert pages.other_builds("tiny", html["tiny"], "notebooks/08_dropping") == {}
    (html["small"] / "notebooks").mkdir(parents=True)
    for name in ("index.html", "notebooks/08_dropping.html"):
        (html["small"] / name).touch()
    found = pages.other_builds("tiny", html["tiny"], "notebooks/08_dropping")
    there = (html["tiny"] / "notebooks" / found.pop("small")).resolve()
    assert there == html["small"] / "notebooks/08_dropping.html" and not found


@needs_browser
def test_the_general_index_fits_a_phone(browser, address):
    tab, _ = visit(browser, address, "genindex", viewport={"width": 390, "height": 900})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


@needs_browser
@each_page
@pytest.mark.parametrize("screen", SCREENS)
def test_page_is_sound(page, screen, browser, address):
    width, theme = SCREENS[screen]
    size = {"width": width, "height": 900}
    tab, faults = visit(browser, address, page, viewport=size, color_scheme=theme)
    assert faults == []
    assert tab.evaluate("document.documentElement.dataset.theme") == theme
    assert tab.evaluate(BROKEN_IMAGES) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.context.close()


@needs_browser
@each_page
def test_page_is_readable_without_a_script(page, browser, address):
    size = {"width": 390, "height": 900}
    tab, faults = visit(browser, address, page, viewport=size, java_script_enabled=False)
    assert faults == []
    assert tab.locator("article h1").first.is_visible()
    for kind in ("p", "table", "math", "img"):
        for found in tab.locator(f"article {kind}:not(details:not([open]) *)").all()[:5]:
            assert found.is_visible(), f"{kind}: {found.inner_text()}"
    assert tab.get_by_text("\\frac").count() == 0, "a formula left as source"
    tab.context.close()


@needs_browser
@each_page
def test_no_table_hides_a_column(page, browser, address):
    """At both widths the last column of every table ends inside the page, or nearly so."""
    for width in (390, 1280):
        tab, _ = visit(browser, address, page, viewport={"width": width, "height": 900})
        hidden = tab.evaluate(
            """() => [...document.querySelectorAll('article table')].filter(table => {
                const cell = table.querySelector('tbody tr > :last-child');
                const box = table.closest('article').getBoundingClientRect();
                return cell?.offsetParent && cell.getBoundingClientRect().right > box.right + 24;
            }).map(table => table.innerText.slice(0, 80))"""
        )
        assert hidden == [], width
        tab.context.close()


@needs_browser
@pytest.mark.parametrize("page", ["book/index", "notebooks/00_scoreboard"])
def test_the_whole_scoreboard_fits_both_screens(page, browser, address):
    """Verdicts above all: no column of it has to be scrolled into view."""
    for width in (390, 1280):
        tab, _ = visit(browser, address, page, viewport={"width": width, "height": 900})
        wide = tab.evaluate(
            """() => [...document.querySelectorAll('.board table')].map(
                table => table.scrollWidth - table.clientWidth)"""
        )
        assert wide and max(wide) <= 1, width
        tab.context.close()


@needs_browser
@each_page
def test_figures_are_small_enough_that_a_phone_shows_their_type(page, browser, address):
    """Type is set in points of a figure at most 7.5 inches wide: on a phone it is 8 pixels high."""
    tab, _ = visit(browser, address, page, viewport={"width": 390, "height": 900})
    widths = tab.evaluate(
        """() => [...document.querySelectorAll('article figure img[src$=png]')].map(
            img => img.naturalWidth)"""
    )
    assert max(widths, default=0) <= 7.5 * 140
    tab.context.close()


@needs_browser
@pytest.mark.parametrize("word", ["window", "oracle", "similarity"])
def test_a_search_finds_pages_before_the_reference(word, browser, address):
    tab, faults = visit(browser, address, "search")
    tab.goto(f"{address}search.html?q={word}", wait_until="networkidle")
    tab.locator("#search-results li a").first.wait_for(timeout=15_000)
    found = [a.get_attribute("href") for a in tab.locator("#search-results li > a").all()]
    assert faults == []
    assert len(found) >= 3
    assert [link for link in found[:5] if "book/library/" in link] == []
    tab.context.close()
