"""A panel: what it shows, in which unit, and the words that say how to read it.

Grafana's own builders write the JSON. Queries use `$__rate_interval` for rates that follow the zoom, and no variable
but the data source, so that each can be asked of Prometheus as it stands.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef

SOURCE = DataSourceRef("prometheus", "${datasource}")
TAG = "rsagent"

Unit = Literal["s", "reqps", "percentunit", "short", "bytes", "Bps", "ops", "none"]
"""Grafana's names of units: `percentunit` is a share between 0 and 1."""

Shape = Literal["lines", "stack", "number"]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of Prometheus, and the name of its series: `{{label}}` stands for a label."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `words` say what a reader learns from it; a `number` takes a quarter of the width, others a half."""

    title: str
    words: str
    unit: Unit
    queries: tuple[Query, ...]
    shape: Shape = "lines"


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard: rows of panels, each row with a title. `needs` says what must run for it to have data."""

    uid: str
    title: str
    words: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    needs: Literal["gateway", "vllm", "ray"] = "gateway"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, in order."""
        return tuple(panel for _, panels in self.rows for panel in panels)

    def json(self) -> str:
        """What Grafana imports."""
        return json.dumps(_board(self).build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def lines(title: str, words: str, unit: Unit, *queries: Query) -> Panel:
    """Lines over time."""
    return Panel(title, words, unit, queries)


def stack(title: str, words: str, unit: Unit, *queries: Query) -> Panel:
    """Areas over time that add up."""
    return Panel(title, words, unit, queries, "stack")


def number(title: str, words: str, unit: Unit, expr: str) -> Panel:
    """The last value, large."""
    return Panel(title, words, unit, (Query(expr, title),), "number")


def quantiles(metric: str, *which: float, by: str = "") -> tuple[Query, ...]:
    """Quantiles of a histogram over the zoom's interval, each label of `by` apart."""
    labels = f"le, {by}" if by else "le"
    rate = f"sum by ({labels}) (rate({metric}_bucket[$__rate_interval]))"
    legend = f"p{{:g}} {{{{{{{{{by}}}}}}}}}" if by else "p{:g}"
    return tuple(Query(f"histogram_quantile({q:g}, {rate})", legend.format(q * 100)) for q in which)


def mean(metric: str, legend: str = "mean") -> Query:
    """A histogram's mean over the zoom's interval."""
    return Query(f"sum(rate({metric}_sum[$__rate_interval])) / sum(rate({metric}_count[$__rate_interval]))", legend)


def _board(board: Board) -> dashboard.Dashboard:
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.words)
        .tags([TAG])
        .editable()
        .refresh("10s")
        .time("now-30m", "now")
        .timezone("browser")
        .link(dashboard.DashboardLink("RSAgent").type(DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    numbers = count(1)
    for title, panels in board.rows:
        built = built.with_row(dashboard.Row(title).id(next(numbers)))
        for panel in panels:
            built = built.with_panel(_panel(panel).id(next(numbers)))
    return built


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    built = _number() if panel.shape == "number" else _graph(panel.shape)
    built = built.title(panel.title).description(panel.words).unit(panel.unit).datasource(SOURCE)
    for name, query in zip("ABCDEFGH", panel.queries, strict=False):
        built = built.with_target(_target(name, query))
    return built


def _number() -> stat.Panel:
    return stat.Panel().span(6).height(4).reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def _graph(shape: Shape) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    built = timeseries.Panel().span(12).height(8).min(0).draw_style(GraphDrawStyle.LINE).fill_opacity(10)
    built = built.legend(legend.show_legend(True)).tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    if shape == "stack":
        built = built.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(40)
    return built


def _target(name: str, query: Query) -> prometheus.Dataquery:
    built = prometheus.Dataquery().ref_id(name).expr(query.expr).legend_format(query.legend).datasource(SOURCE)
    return built.range()


def documents(boards: Sequence[Board]) -> dict[str, str]:
    """Each dashboard's JSON by its file name."""
    return {f"{board.uid}.json": board.json() for board in boards}
