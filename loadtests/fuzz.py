"""Ten thousand bad inputs against a running service: no 5xx, no hang, memory flat.

Two kinds: damaged picture files, and requests damaged on the wire. `contract` has schemathesis ask every route of the
API, 1,000 cases each, and holds each answer to its schema. `python -m loadtests.decoder` fuzzes the decoder by coverage
instead.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
from rich.progress import track

from loadtests import mutants, wire
from loadtests.stand import Stand, standing
from loadtests.verdict import Verdict

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 20.0
CROWD = 24
ROOM: Any = {"RSAGENT_LIMITS__QUEUE": "64", "RSAGENT_LIMITS__UPLOAD_TIMEOUT": "2"}
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def measure(short: bool = False) -> list[Verdict]:
    """6,000 pictures and 4,000 requests (60 and 60 if `short`)."""
    pictures, requests = (60, 60) if short else (6000, 4000)
    with standing(0, 0, **ROOM) as stand:
        before = stand.memory()
        posted = asyncio.run(_send(stand, map(_post, mutants.pictures(pictures)), pictures, "pictures"))
        sent = asyncio.run(_send(stand, mutants.requests(requests), requests, "requests"))
        grown = (stand.memory() - before) / 1e6
        held = stand.left_over()
        alive = stand.process.poll() is None
    replies = posted + sent
    return [
        _none("5xx of " + f"{len(replies):,} bad inputs", sum(reply.status >= 500 for reply in replies), replies),
        _none("hangs among them", sum(reply.hung for reply in replies)),
        _none("pictures that got no answer", sum(not reply.status for reply in posted)),
        Verdict("bad inputs: growth of memory", f"{grown:.0f} MB", "< 100 MB", grown < 100),
        Verdict("bad inputs: still alive, nothing held", str(held or "yes"), "yes", alive and not held),
    ]


def contract(short: bool = False) -> list[Verdict]:
    """1,000 cases a route (10 if `short`)."""
    with standing(0, 0, **ROOM) as stand:
        found = contract_of(stand.url, 10 if short else 1000)
        held = stand.left_over()
        alive = stand.process.poll() is None
    tried, described = set(found["routes"]), set(found["described"])
    return [
        Verdict("contract: cases", f"{found['cases']:,}", "> 0", found["cases"] > 0, found),
        Verdict("contract: routes", f"{len(tried)} of {len(described)}", "all", tried == described),
        Verdict("contract: failures (5xx, an answer that is not in the schema)", str(found["failures"]), "0",
                found["failures"] == 0),
        Verdict("contract: still alive, nothing held", str(held or "yes"), "yes", alive and not held),
    ]  # fmt: skip


def contract_of(url: str, cases: int, phases: str = "examples,coverage,fuzzing") -> dict[str, Any]:
    """schemathesis over every route at `url`, `cases` each: how many were tried, how many failed and how."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.ndjson"
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--max-examples", str(cases),
            "--checks", CHECKS, "--phases", phases, "--no-color", "--seed", "0",
            "--suppress-health-check", "all", "--request-timeout", str(PATIENCE), "--warnings", "off",
            "--continue-on-failure", "--generation-database", "none", "--report-ndjson-path", str(report),
        ]  # fmt: skip
        env = {**os.environ, "SCHEMATHESIS_HOOKS": "loadtests.contract", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False, env=env)
        return {**_read_report(report, done.returncode, done.stdout + done.stderr), "described": _described(url)}


def _described(url: str) -> list[str]:
    """Every route of the contract, as schemathesis calls it."""
    paths = httpx.get(f"{url}/openapi.json", timeout=PATIENCE).json()["paths"]
    return [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]


def _read_report(report: Path, status: int, words: str) -> dict[str, Any]:
    cases, failures = Counter[str](), 0
    for line in report.read_text().splitlines() if report.exists() else []:
        event = json.loads(line)
        for label, scenario in event.items():
            if label == "ScenarioFinished":
                recorder = scenario["recorder"]
                cases[recorder["label"]] += len(recorder.get("cases", ()))
                checks = [check for several in recorder.get("checks", {}).values() for check in several]
                failures += sum(check["status"] == "failure" for check in checks)
    failed = failures or int(status != 0)
    return {
        "cases": sum(cases.values()),
        "routes": dict(cases),
        "failures": failed,
        "said": words[-3000:] if failed else "",
    }


def _none(what: str, count: int, replies: list[wire.Reply] | None = None) -> Verdict:
    more = {"statuses": dict(Counter(reply.status for reply in replies))} if replies else {}
    return Verdict(f"bad inputs: {what}", str(count), "0", count == 0, more)


def _post(picture: bytes) -> bytes:
    form: Any = {"data": {"query": "x"}, "files": {"image": ("p", picture)}}
    built = httpx.Request("POST", "http://stand/v1/segment", **form)
    return wire.head(built, "Connection: close") + built.read()


async def _send(stand: Stand, payloads: Iterable[bytes], count: int, name: str) -> list[wire.Reply]:
    source, replies = iter(track(payloads, description=name, total=count)), []

    async def sender() -> None:
        for payload in source:
            replies.append(await wire.send(stand.address, payload, PATIENCE))

    await asyncio.gather(*(sender() for _ in range(CROWD)))
    return replies
