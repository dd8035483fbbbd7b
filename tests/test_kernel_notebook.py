"""A notebook from start to end, executed by nbclient as a person would run it."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from hotplate_process import REPOSITORY, Hotplate
from notebook_home import notebook_home

TOUR = REPOSITORY / "tests" / "notebook_tour.ipynb"


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    with notebook_home(tmp_path_factory.mktemp("notebook")) as running:
        yield running


def execute(notebook) -> None:
    NotebookClient(notebook, timeout=240, kernel_name="hotplate", resources={"metadata": {"path": str(Path.cwd())}}).execute()


def outputs(cell) -> list[dict]:
    assert all(output["output_type"] != "error" for output in cell["outputs"]), cell["outputs"]
    return cell["outputs"]


def test_the_tour(home: Hotplate):
    notebook = nbformat.read(TOUR, as_version=4)
    execute(notebook)
    cells = {cell["source"].split()[0] + str(index): cell for index, cell in enumerate(notebook.cells) if cell["cell_type"] == "code"}
    check, plan, train, before, after, lists = cells.values()

    (checked,) = outputs(check)
    assert "24 examples" in checked["data"]["text/plain"] and "text/html" in checked["data"]
    (planned,) = outputs(plan)
    assert "memory" in planned["data"]["text/plain"]

    shown = outputs(train)
    assert [output["output_type"] for output in shown] == ["display_data", "display_data"], "updates replace, not add"
    end = shown[1]["data"]
    assert "notes version 1 is ready" in end["text/plain"]
    assert "<svg" in end["text/html"] and "width:100.0%" in end["text/html"]

    written = []
    for cell in (before, after):
        streams = outputs(cell)
        assert {(stream["output_type"], stream["name"]) for stream in streams} == {("stream", "stdout")}
        written.append("".join(stream["text"] for stream in streams))
        assert written[-1].strip()
    assert written[0] != written[1], "the adapter changes nothing"

    adapters, models, status = outputs(lists)
    assert "notes" in adapters["data"]["text/plain"] and "<table" in adapters["data"]["text/html"]
    assert "hotplate-tiny" in models["data"]["text/plain"]
    assert "Home:" in status["data"]["text/plain"]
    nbformat.validate(notebook)
    # The kernel and the command line see the same daemon.
    assert [adapter["name"] for adapter in home.json("adapters")["adapters"]] == ["notes"]


def test_a_notebook_stops_at_its_first_error():
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in ["%help", "%check nowhere/", "%status"]],
        metadata=json.loads(TOUR.read_text())["metadata"],
    )
    with pytest.raises(CellExecutionError, match="nowhere"):
        execute(notebook)
    assert notebook.cells[1]["outputs"][0]["ename"] == "NotFound"
    assert not notebook.cells[2]["outputs"]
