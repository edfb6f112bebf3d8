"""Rule 23: dependencies are pinned and locked with hashes; nothing that is loaded may carry code."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for room in ("service", "loadtests", "deploy") for path in (ROOT / room).rglob("*.py"))

OWN = {
    ("service/rsagent/training/policy/joint.py", "pickle.loads"): "its own workers' batches, over a pipe",
    ("loadtests/bench/plan.py", "pickle.loads"): "a plan for its own worker process",
    ("loadtests/bench/recording.py", "pickle.loads"): "a recording that the same command made",
}
"""What may stay, with its reason: none of it is served, and none reads what others made."""

PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def called(node: ast.Call) -> str:
    """`module.function`, or the function's name alone."""
    function = node.func
    if isinstance(function, ast.Attribute):
        return f"{function.value.id}.{function.attr}" if isinstance(function.value, ast.Name) else f"?.{function.attr}"
    return function.id if isinstance(function, ast.Name) else "?"


def carries_code(node: ast.Call) -> bool:
    """Whether a call may run what a file holds."""
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    name = called(node)
    module, _, function = name.rpartition(".")
    if module in PICKLES and function in ("load", "loads", "open", "Unpickler"):
        return True
    if name == "torch.load":
        return not _is(named.get("weights_only"), True)
    if name == "yaml.load" or function in ("read_pickle",):
        return True
    return _is(named.get("allow_pickle"), True) or (
        "trust_remote_code" in named and not _is(named["trust_remote_code"], False)
    )


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def findings() -> Iterator[tuple[str, str, int]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and carries_code(node):
                yield str(path.relative_to(ROOT)), called(node), node.lineno


def test_nothing_loads_what_may_carry_code() -> None:
    bad = [f"{path}:{line} {name}" for path, name, line in findings() if (path, name) not in OWN]
    assert bad == []


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        ("pickle.load(f)", True), ("torch.load(p)", True), ("torch.load(p, weights_only=False)", True),
        ("torch.load(p, weights_only=True)", False), ("np.load(p, allow_pickle=True)", True), ("np.load(p)", False),
        ("M.from_pretrained(p, trust_remote_code=True)", True), ("M.from_pretrained(p, trust_remote_code=x)", True),
        ("M.from_pretrained(p, trust_remote_code=False)", False), ("yaml.load(f)", True), ("json.load(f)", False),
        ("joblib.load(f)", True), ("pickle.dumps(x)", False),
    ],
)  # fmt: skip
def test_the_check_knows_them(code: str, bad: bool) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert carries_code(call) is bad


def declared() -> dict[str, list[Requirement]]:
    """Requirements by extra; the empty one is what everybody needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(line) for line in lines] for extra, lines in listed.items()}


def locked(path: Path) -> dict[str, tuple[str, int]]:
    """Version and number of hashes of every package in a lock."""
    found = {}
    for entry in re.split(r"\n(?=\S)", path.read_text()):
        if match := re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", entry):
            found[_normal(match[1])] = (match[2], entry.count("--hash=sha256:"))
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_names_one_version() -> None:
    loose = [
        str(requirement)
        for requirements in declared().values()
        for requirement in requirements
        if not re.fullmatch(r"==[^*,]+", str(requirement.specifier))
    ]
    assert loose == []


def test_every_requirement_is_locked_at_its_version() -> None:
    base = locked(ROOT / "requirements.lock")
    extras: dict[str, set[str]] = {}
    for path in ROOT.glob("requirements*.lock"):
        for name, (version, _) in locked(path).items():
            extras.setdefault(name, set()).add(version.split("+")[0])
    for extra, requirements in declared().items():
        for requirement in requirements:
            name, version = _normal(requirement.name), str(requirement.specifier).removeprefix("==")
            versions = extras.get(name, set()) if extra else {base.get(name, ("", 0))[0].split("+")[0]}
            assert version in versions, f"{requirement} is not locked: run `make lock`"


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.lock")), ids=lambda path: str(path.name))
def test_every_lock_has_hashes_for_all_it_installs(path: Path) -> None:
    bare = [name for name, (_, hashes) in locked(path).items() if not hashes]
    assert bare == []
    assert not re.search(r"^\s*(-e |git\+|https?://)", path.read_text(), re.MULTILINE)


def test_the_makefile_installs_by_hash() -> None:
    makefile = (ROOT / "Makefile").read_text()
    installs = [line for line in makefile.splitlines() if "-r requirements" in line]
    assert installs
    assert all("--require-hashes" in line for line in installs)
