"""`python -m loadtests dashboards`: does every panel of every dashboard return data while the service works?

The service is a real one, Prometheus too, with the shipped configuration and rules; the panels are those of the
committed JSON, as Grafana reads it.
"""

from __future__ import annotations

import itertools
import json
import math
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import httpx
import promql_parser
from deploy.grafana.boards import BOARDS
from PIL import Image
from rich.console import Console
from rich.table import Table

from loadtests import prometheus
from loadtests.prometheus import Prometheus
from loadtests.server import serving
from rsagent import examples

FOLDER = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"
Profile = Literal["embedded", "engines"]
CLIENTS = 4
PATIENCE = 120.0
"""Seconds after the load's own in which the last panel must have data."""

_VARIABLES = {"$__rate_interval": "30s", "$__interval": "15s", "$__range": "5m"}


@dataclass(frozen=True)
class Asked:
    """One query of a panel, and what it returned."""

    board: str
    panel: str
    expr: str
    values: tuple[float, ...]

    @property
    def has_data(self) -> bool:
        """Whether there is a series that is a number."""
        return any(not math.isnan(value) for value in self.values)


def queries(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Title and expression of each query of a dashboard's JSON, with Grafana's intervals filled in."""
    for panel in _panels(board["panels"]):
        for target in panel.get("targets") or ():
            expr = target["expr"]
            for name, value in _VARIABLES.items():
                expr = expr.replace(name, value)
            yield panel["title"], expr


def _panels(panels: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from _panels(panel.get("panels") or ())


def boards(profile: Profile) -> dict[str, dict[str, Any]]:
    """The committed dashboards that have data in a profile, by their titles: embedded has no vLLM and no Ray."""
    uids = [board.uid for board in BOARDS if profile == "engines" or board.needs == "gateway"]
    found = [json.loads((FOLDER / f"{uid}.json").read_text()) for uid in uids]
    return {board["title"]: board for board in found}


def ask(source: Prometheus, profile: Profile) -> list[Asked]:
    """Every query of every panel, parsed and then asked. Raises ValueError for one that is no PromQL."""
    found = []
    for title, board in boards(profile).items():
        for panel, expr in queries(board):
            promql_parser.parse(expr)
            found.append(Asked(title, panel, expr, tuple(source.ask(expr))))
    return found


def verdict(asked: list[Asked]) -> dict[str, dict[str, bool]]:
    """By board and panel: whether all of its queries have data."""
    found: dict[str, dict[str, bool]] = {}
    for one in asked:
        panels = found.setdefault(one.board, {})
        panels[one.panel] = panels.get(one.panel, True) and one.has_data
    return found


@contextmanager
def standing(profile: Profile, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The service at work: its address, and what Prometheus is to scrape."""
    if profile == "embedded":
        with serving() as server:
            yield server.url, {"gateway": _host(server.url)}
        return
    from loadtests import engines  # needs vLLM and Ray

    with engines.serving(folder) as (url, targets):
        yield url, {"gateway": _host(url), **targets}


def _host(url: str) -> str:
    return url.removeprefix("http://")


@contextmanager
def loaded(url: str, clients: int = CLIENTS) -> Iterator[None]:
    """Ask for the shipped examples, one after the other in each of `clients`, while the block runs."""
    asked = [(one.path, sentence) for one in examples.load() for sentence in one.sentences]
    over = threading.Event()

    def client(number: int) -> None:
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as http:
            for place in itertools.count(number * 5):
                if over.is_set():
                    return
                path, query = asked[place % len(asked)]
                with suppress(httpx.HTTPError):
                    http.post("/v1/segment", files={"image": _new(path, place, number)}, data={"query": query})

    with ThreadPoolExecutor(clients) as pool:
        for number in range(clients):
            pool.submit(client, number)
        try:
            yield
        finally:
            over.set()


def _new(path: Path, *marks: int) -> bytes:
    """The picture with a pixel of its own, as PNG: nobody has encoded it before, as with users' pictures."""
    with Image.open(path) as picture:
        changed = picture.convert("RGB")
    changed.putpixel((0, 0), (marks[0] % 256, marks[0] // 256 % 256, marks[1] % 256))
    changed.save(buffer := BytesIO(), "PNG", compress_level=1)
    return buffer.getvalue()


def measured(profile: Profile, seconds: float, folder: Path) -> Iterator[tuple[list[Asked], Prometheus]]:
    """What the panels return after `seconds` of load, while it goes on.

    Once, and again as long as a query has had no data and there is patience: where a request takes longer than
    the half minute that rates are over, there are moments without one. The last one counts, and has the latest answer
    with data of each query.
    """
    with standing(profile, folder) as (url, targets), prometheus.watching(targets, folder) as source, loaded(url):
        time.sleep(seconds)
        until = time.monotonic() + PATIENCE
        asked = ask(source, profile)
        yield asked, source
        while not all(one.has_data for one in asked) and time.monotonic() < until:
            time.sleep(2)
            asked = [new if new.has_data else old for old, new in zip(asked, ask(source, profile), strict=True)]
            yield asked, source


def show(asked: list[Asked], console: Console) -> bool:
    """A table, and each query without data. True if every panel has some."""
    table = Table("dashboard", "panels", "queries", "with data")
    found = verdict(asked)
    for board, panels in found.items():
        own = [one for one in asked if one.board == board]
        table.add_row(board, str(len(panels)), str(len(own)), f"{sum(panels.values())} of {len(panels)}")
    console.print(table)
    for one in asked:
        if not one.has_data:
            console.print(f"no data: {one.board} | {one.panel} | {one.expr} | {one.values}", markup=False)
    good, all_panels = sum(sum(panels.values()) for panels in found.values()), sum(map(len, found.values()))
    console.print(f"panels that return data: {good} of {all_panels}", highlight=False)
    return good == all_panels


def run(profile: Profile, seconds: float, url: str | None, draw: Path | None = None) -> bool:
    """Ask the Prometheus at `url`, or start everything and ask ours. Pictures go to the folder `draw`."""
    console = Console()
    if url is not None:
        source = Prometheus(url)
        return show(_last([(ask(source, profile), source)], profile, seconds, draw), console)
    with tempfile.TemporaryDirectory(prefix="rsagent-dashboards-") as folder:
        return show(_last(measured(profile, seconds, Path(folder)), profile, seconds, draw), console)


def _last(
    found: Iterable[tuple[list[Asked], Prometheus]], profile: Profile, seconds: float, draw: Path | None
) -> list[Asked]:
    """The last answers; drawn while the Prometheus that gave them still runs."""
    asked: list[Asked] = []
    for asked, source in found:  # noqa: B007
        if draw is not None:
            from loadtests import pictures

            pictures.draw(boards(profile), source, seconds, draw)
    return asked
