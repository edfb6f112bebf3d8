"""The notebook: its cells run against a service, and what is shipped has been run."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from tests.api.stage import FINISH, SEGMENT, Cast
from tests.client.test_sync import served

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "notebook" / "quickstart.ipynb"
LARGEST = 300_000

# jupyter_client's own use of zmq and of asyncio
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "RuntimeWarning", "ResourceWarning")
]


def test_every_cell_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    page = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    with served(Cast([SEGMENT, FINISH])) as stage:
        monkeypatch.setenv("RSAGENT_URL", stage.url)
        NotebookClient(page, timeout=300, kernel_name="python3").execute()
    shown = [output for cell in page.cells for output in cell.get("outputs", [])]
    assert sum("image/jpeg" in output.get("data", {}) for output in shown) == 3


def test_it_is_shipped_with_its_pictures_and_stays_small() -> None:
    page = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(page)
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run from top to bottom"
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert sum("image/jpeg" in output.get("data", {}) for cell in code for output in cell.outputs) == 3
    assert NOTEBOOK.stat().st_size < LARGEST
    text = NOTEBOOK.read_text()
    assert "/home/" not in text
    assert "/work/" not in text
