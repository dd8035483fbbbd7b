"""The tutorial as a person sees it: `hotplate lab`, run in a real browser, light and dark.

What a test can judge is judged: nothing is an error, every kind of output is there and has a size, and words and curves stand out
from what is behind them. With HOTPLATE_PICTURES=FOLDER the pictures are kept, to be looked at.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from hotplate_process import REPOSITORY, built, wait_until
from notebook_home import notebook_home

# Text that is told from its background without effort has 4.5 (WCAG); large or faint-on-purpose text, 3.
CONTRAST = 3.0
SETTINGS = {
    # Every cell is there, whether it is on the screen or not.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
# Colours of each text in an output, and of the first thing behind it that has one.
COLOURS = """() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = numbers(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.5) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll('.jp-OutputArea-output :is(td, th, div, pre, a, summary, text)')) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const colour = node.tagName === 'text' ? style.fill : style.color;
    const back = behind(node), share = Number(style.opacity);
    const front = numbers(colour).slice(0, 3).map((part, i) => part * share + back[i] * (1 - share));
    found.push({text: node.textContent.trim().slice(0, 40), front, back});
  }
  return found;
}"""


def luminance(colour: list[float]) -> float:
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[float], other: list[float]) -> float:
    dark, bright = sorted([luminance(one), luminance(other)])
    return (bright + 0.05) / (dark + 0.05)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab's address, its settings' folder, and the folder that it serves."""
    folder = tmp_path_factory.mktemp("pictures")
    with notebook_home(folder):
        work = Path.cwd()
        settings = folder / "settings"
        os.environ["JUPYTERLAB_SETTINGS_DIR"] = str(settings)
        os.environ["HOME"] = str(folder)
        for name, values in SETTINGS.items():
            write_settings(settings, name, values)
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        words = ["--no-browser", "--", "--expose-app-in-browser", "--ip=127.0.0.1", "--port=0", "--IdentityProvider.token="]
        log = (folder / "lab.log").open("w")
        server = subprocess.Popen([built("hotplate"), "lab", "--dir", work, *words], stdout=log, stderr=log)
        try:
            running = wait_until(lambda: list((folder / "runtime").glob("jpserver-*.json")), "JupyterLab to start", seconds=60)
            address = json.loads(running[0].read_text())["url"]
            wait_until(lambda: answers(address + "api"), "JupyterLab to answer", seconds=60)
            yield address, settings, work
        finally:
            server.terminate()
            server.wait(20)


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except OSError:
        return False


def write_settings(folder: Path, name: str, values: dict) -> None:
    extension, plugin = name.rsplit("/", 1)
    file = folder / extension / f"{plugin}.jupyterlab-settings"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))


@pytest.fixture(scope="module")
def page(lab):
    chromium = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    assert chromium, "there is no Chromium; install it (Debian: apt install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1250, "height": 900})
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def open_tour(page: Page, lab, theme: str, notebook: str = "tour.ipynb") -> None:
    address, settings, _ = lab
    write_settings(settings, "@jupyterlab/apputils-extension/themes", {"theme": theme})
    page.goto(f"{address}lab/tree/{notebook}?reset")
    page.wait_for_selector(".jp-NotebookPanel-notebook .jp-Cell")
    page.wait_for_function("() => window.jupyterapp && document.querySelectorAll('.jp-CodeCell').length > 10")
    name = "dark" if "Dark" in theme else "light"
    page.wait_for_function(f"() => document.body.dataset.jpThemeLight === '{str(name == 'light').lower()}'")


def keep(page: Page, name: str) -> bytes:
    """The whole notebook in one picture."""
    height = page.evaluate("() => document.querySelector('.jp-NotebookPanel-notebook .jp-WindowedPanel-outer').scrollHeight")
    page.set_viewport_size({"width": 1250, "height": min(int(height) + 200, 12_000)})
    page.evaluate("() => { document.querySelector('.jp-NotebookPanel-notebook .jp-WindowedPanel-outer').scrollTop = 0; }")
    time.sleep(0.5)
    picture = page.screenshot()
    if os.environ.get("HOTPLATE_PICTURES"):
        folder = Path(os.environ["HOTPLATE_PICTURES"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(picture)
    page.set_viewport_size({"width": 1250, "height": 900})
    return picture


def judge(page: Page) -> None:
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr'], .jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    for what in ["svg polyline", "table td", "[role=progressbar]", "a[href*='line=']", "details summary", "[data-mime-type='application/vnd.jupyter.stdout']"]:
        there = page.locator(f".jp-OutputArea-output {what}, .jp-OutputArea-output{what}").first
        box = there.bounding_box()
        assert box and box["width"] > 3 and box["height"] > 0, f"{what} cannot be seen"
    texts = page.evaluate(COLOURS)
    assert len(texts) > 100
    faint = [(text["text"], round(contrast(text["front"], text["back"]), 2)) for text in texts if contrast(text["front"], text["back"]) < CONTRAST]
    assert not faint, faint[:10]
    # Nothing runs out of the notebook to the right.
    wide = page.evaluate("() => [...document.querySelectorAll('.jp-OutputArea-output')].filter(node => node.scrollWidth > node.clientWidth + 2).length")
    assert wide == 0, f"{wide} outputs are wider than their place"


def run_all(page: Page) -> None:
    # A cell that is run before its kernel is connected is not run at all.
    page.wait_for_function("() => /Hotplate \\| Idle/.test(document.querySelector('#jp-main-statusbar').textContent)")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    # The last code cell has run: its number is there.
    prompts = page.locator(".jp-CodeCell .jp-InputArea-prompt")
    count = prompts.count()
    page.wait_for_function(
        "count => { const all = [...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')]; return all.length === count && /\\[\\d+\\]/.test(all[count - 1].textContent); }",
        arg=count,
        timeout=120_000,
    )


def test_the_tour_in_jupyterlab_light_and_dark(page, lab):
    open_tour(page, lab, "JupyterLab Light")
    run_all(page)
    light = keep(page, "light")
    judge(page)
    page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save'); }")
    open_tour(page, lab, "JupyterLab Dark")
    page.wait_for_selector(".jp-OutputArea-output svg polyline")
    dark = keep(page, "dark")
    judge(page)
    assert light != dark


def test_the_chinese_tour(page, lab):
    shutil.copy(REPOSITORY / "kernelspec" / "tour.zh.ipynb", lab[2])
    open_tour(page, lab, "JupyterLab Light", "tour.zh.ipynb")
    run_all(page)
    keep(page, "chinese")
    judge(page)


def test_a_finding_is_a_link_to_its_line(page, lab):
    open_tour(page, lab, "JupyterLab Light")
    page.locator(".jp-OutputArea-output a[href*='line=']").first.click()
    page.wait_for_selector(".jp-FileEditor .cm-content")
    page.wait_for_function("() => /Ln 19,/.test(document.querySelector('#jp-main-statusbar').textContent)")
