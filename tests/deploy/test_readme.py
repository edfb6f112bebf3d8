"""The README's commands: all are run somewhere, and those that need others' weights at least have valid settings."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rsagent import settings

ROOT = Path(__file__).resolve().parents[2]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deploy_readme", ROOT / "deploy" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


readme = _load()
PAGE = (ROOT / "README.md").read_text()
BLOCKS = readme.blocks(PAGE)


def test_a_marker_belongs_to_the_block_below_it() -> None:
    page = "<!-- run: alone -->\n```sh\nls\n```\ntext\n```sh\nrm\n```\n"
    assert [(block.marker, block.body) for block in readme.blocks(page)] == [("alone", "ls\n"), ("", "rm\n")]


def test_every_command_is_run_somewhere() -> None:
    assert {block.marker for block in BLOCKS} <= set(readme.MARKERS)
    assert {"ci", "server", "alone"} <= {block.marker for block in BLOCKS}
    assert len(BLOCKS) == PAGE.count("```sh")


def test_ci_runs_what_the_readme_says_it_does() -> None:
    script = (ROOT / ".ci" / "run").read_text() + (ROOT / "deploy" / "smoke.sh").read_text()
    for block in BLOCKS:
        if block.marker == "ci":
            for line in block.body.splitlines():
                assert line.split("#")[0].strip() in script


def test_settings_that_the_readme_names_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    named = dict(re.findall(r"(RSAGENT_\w+)=(\S+)", PAGE))
    assert named
    for variable, value in named.items():
        monkeypatch.setenv(variable, value)
    settings.load()


def test_links_into_the_repository_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGE):
        assert (ROOT / target).exists(), target
