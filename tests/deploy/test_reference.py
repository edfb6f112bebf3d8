"""docs/reference.md says what the code says; docs/api.md names every event, stop and error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rsagent import errors
from rsagent.agent.state import StopReason
from rsagent.api.answers import EVENTS
from rsagent.api.requests import Options

ROOT = Path(__file__).resolve().parents[2]
API = (ROOT / "docs" / "api.md").read_text()


def test_the_reference_is_up_to_date() -> None:
    told = subprocess.run([sys.executable, "deploy/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("name", [*EVENTS, *StopReason, *Options.model_fields])
def test_the_api_page_names_it(name: str) -> None:
    assert f"`{name}`" in API


def test_the_api_page_names_every_error_that_a_client_can_get() -> None:
    ours = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.RSAgentError)}
    inside = {"not_configured", "bad_checkpoint"}
    assert {kind.code for kind in ours} - inside <= set(re.findall(r"`(\w+)`", API))


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_links_between_the_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (ROOT / "docs" / target).exists(), target
