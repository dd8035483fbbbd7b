"""A notebook from start to end, executed by nbclient as a person would run it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

from hotplate_process import REPOSITORY, Hotplate
from notebook_home import notebook_home

KERNELSPEC = json.loads((REPOSITORY / "kernelspec" / "tour.ipynb").read_text())["metadata"]
# What a person is promised.
LONGEST = 240


@pytest.fixture(autouse=True)
def home(tmp_path: Path):
    with notebook_home(tmp_path) as running:
        yield running


def execute(notebook) -> None:
    NotebookClient(notebook, timeout=240, kernel_name="hotplate", resources={"metadata": {"path": str(Path.cwd())}}).execute()


def outputs(cell) -> list[dict]:
    assert all(output["output_type"] != "error" for output in cell["outputs"]), cell["outputs"]
    return cell["outputs"]


@pytest.mark.parametrize("name", ["tour.ipynb", "tour.zh.ipynb"])
def test_the_tour(name: str, home: Hotplate):
    notebook = nbformat.read(REPOSITORY / "kernelspec" / name, as_version=4)
    nbformat.validate(notebook)
    start = time.monotonic()
    execute(notebook)
    assert time.monotonic() - start < LONGEST
    cells = [(cell["source"], outputs(cell)) for cell in notebook.cells if cell["cell_type"] == "code"]
    assert all(shown for _, shown in cells)

    def cell(begin: str) -> list[dict]:
        return next(shown for source, shown in cells if source.startswith(begin))

    folder = "tour-notes" if name == "tour.ipynb" else "tour-notes-zh"
    texts = lambda shown: [output["data"]["text/plain"] for output in shown if "data" in output]
    assert "1 finding" in texts(cell("%check"))[0], "the broken record"
    assert "cell.jsonl:3" in texts(cell("%%check"))[0]
    assert f"{folder} version 1 is ready" in texts(cell("%%train"))[2]
    html = cell("%%train")[1]["data"]["text/html"]
    assert "<svg" in html and "width:100.0%" in html
    (compared,) = texts(cell("%%compare"))
    assert f"{folder}@1" in compared and "Fed 8 of" in compared and "no measurement" in compared
    (weighed,) = texts(next(shown for source, shown in cells if source.endswith("--feed")))
    assert "Held-out loss" in weighed and f"{folder}@1" in weighed
    assert "4 of 4 (seed 4" in texts(cell("%generate --n 4"))[0]
    saved = texts(next(shown for source, shown in cells if "night-market" in source))
    assert f"{folder} version 2 is ready" in saved[-1]
    # Five folds judged the first version, and held-out texts the second: that is no curve.
    versions = texts(cell("%adapters"))[0]
    assert "2 of 2" in versions and "by version" not in versions
    assert "version 1 now" in texts(cell("%rollback"))[0]
    assert (Path.cwd() / ("tour-adapter" if name == "tour.ipynb" else "tour-adapter-zh") / "adapter_config.json").is_file()
    # The same as a page that is handed on, without a kernel or JupyterLab behind it.
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count("<polyline") >= 4 and "held-out loss by version" in page and "Where no line leads on" in page
    # The kernel and the command line see the same daemon.
    assert folder in [adapter["name"] for adapter in home.json("adapters")["adapters"]]


def test_a_notebook_stops_at_its_first_error():
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in ["%help", "%check nowhere/", "%status"]],
        metadata=KERNELSPEC,
    )
    with pytest.raises(CellExecutionError, match="nowhere"):
        execute(notebook)
    assert notebook.cells[1]["outputs"][0]["ename"] == "NotFound"
    assert not notebook.cells[2]["outputs"]
