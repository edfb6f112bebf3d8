"""docs/reliability.md names tests that exist, for each of the rules."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from loadtests.reliability import PARTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
ROWS = re.findall(r"^\| (\d+) \|[^|]*\|([^|]*)\|([^|]*)\|$", PAGE, re.MULTILINE)


def defined_in(path: Path) -> set[str]:
    """Names of the functions at the top of a file."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, kinds)}


def test_there_are_twenty_five_rules() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 26))


def test_every_named_test_exists() -> None:
    for number, tests, _ in ROWS:
        named = re.findall(r"`([^`]+)`", tests)
        assert named, f"rule {number} names no test"
        for name in named:
            file, _, test = name.partition("::")
            assert test in defined_in(ROOT / "tests" / file), f"rule {number}: there is no {name}"


def test_every_test_against_the_real_engines_exists() -> None:
    named = re.findall(r"`([a-z0-9/_]+\.py)::(\w+)`", PAGE)
    assert len(named) > 30
    for file, test in named:
        assert test in defined_in(ROOT / "tests" / file), f"there is no {file}::{test}"


def test_every_named_command_exists() -> None:
    assert {name for _, _, commands in ROWS for name in re.findall(r"`([^`]+)`", commands)} == set(PARTS)
