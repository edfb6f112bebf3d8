"""A report as one page that needs nothing else: the figures, IoU by turn, and pictures with every turn."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from string import Template

from rsagent.api.answers import ActionDocument, FinishAction, MalformedAction, NoTargetAction, SegmentAction, ZoomAction
from rsagent.evaluation import drawing
from rsagent.evaluation.chart import chart
from rsagent.evaluation.journal import Config, Journal
from rsagent.evaluation.report import Report, overall, table
from rsagent.evaluation.samples import Loaded, Sample
from rsagent.evaluation.score import Row
from rsagent.evaluation.story import Story, StoryStep
from rsagent.geometry import Box


def page(
    config: Config, reports: Mapping[str, Report], samples: Sequence[Sample], journal: Journal, pictures: int = 24
) -> str:
    """The page as HTML. `pictures` samples are drawn, the kinds in equal shares; their stories are the journal's."""
    rows = {name: {row.id: row for row in report.rows} for name, report in reports.items()}
    chosen = choose(samples, pictures)
    told = [(name, {id: rows[name][id] for id in (one.id for one in chosen)}) for name in reports]
    cards = "".join(_card(sample, told, journal, config) for sample in chosen)
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        tables=_tables(table(reports)) + _tables(overall(reports)),
        chart=chart({name: report.all.iou_by_turn for name, report in reports.items()}),
        kinds="".join(f"<option>{html.escape(kind)}</option>" for kind in sorted({one.kind for one in chosen})),
        cards=cards,
        shown=f"{len(chosen)} of {len(samples)}",
        config="".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in config.items()),
    )


def choose(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most `count` samples, the kinds in equal shares and each kind's spread over its list, in the list's order."""
    kinds: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        kinds[sample.kind].append(sample)
    turns = [[group[index * len(group) // share] for index in range(share)] for group in kinds.values()
             if (share := min(len(group), max(1, count // len(kinds))))]  # fmt: skip
    wanted = {sample.id for group in turns for sample in group}
    return [sample for sample in samples if sample.id in wanted][:count]


def _card(sample: Sample, runs: Sequence[tuple[str, Mapping[str, Row]]], journal: Journal, config: Config) -> str:
    loaded = sample.load()
    strips = "".join(
        _strip(name, rows[sample.id], journal.story(name, sample.id), loaded, _zooms(config, name))
        for name, rows in runs
    )
    last = runs[-1][1][sample.id]
    meant = _figure(
        drawing.truth(loaded.image, loaded.truth, loaded.ignore), "meant: nothing" if last.absent else "meant"
    )
    return (
        f'<article data-kind="{html.escape(sample.kind)}" data-iou="{last.iou:.4f}">'
        f"<h3>{_text(sample.query)}</h3><p>{_text(sample.kind)} · {_text(sample.id)}</p>"
        f'<div class="card">{meant}<div>{strips}</div></div></article>'
    )


def _zooms(config: Config, run: str) -> bool:
    """Whether zooms opened frames in a run."""
    return bool(config["runs"][run]["zooms"] != 0)


def _strip(name: str, row: Row, story: Story, loaded: Loaded, zooms: bool) -> str:
    end = _text(row.error) if row.error else f"IoU <b>{row.iou:.2f}</b>, {_text(row.stop)}"
    told = enumerate(_views(story, loaded, zooms), 1)
    steps = "".join(_step(number, step, view, story, loaded) for number, (step, view) in told)
    return f'<h4>{_text(name)}: {end}</h4><div class="run">{steps}{_submitted(story, loaded)}</div>'


def _submitted(story: Story, loaded: Loaded) -> str:
    mask = story.mask(story.submitted)
    if not mask.any():
        return '<figure class="words"><figcaption>nothing submitted</figcaption></figure>'
    return _figure(drawing.turn(drawing.View.of(loaded.image), loaded.truth, None, mask), "submitted")


def _views(story: Story, loaded: Loaded, zooms: bool) -> Iterator[tuple[StoryStep, drawing.View]]:
    """Each step with the frame it speaks of."""
    frames: list[Box | None] = [None]
    seen: list[ActionDocument] = []
    for step in story.steps:
        action = step.action
        frame = action.frame if isinstance(action, SegmentAction | ZoomAction) else 0
        yield step, drawing.View.of(loaded.image, frames[frame] if frame < len(frames) else None)
        if isinstance(action, ZoomAction) and zooms and action not in seen:
            frames.append(action.bbox)
        seen.append(action)


def _step(number: int, step: StoryStep, view: drawing.View, story: Story, loaded: Loaded) -> str:
    words = f"<b>{number}. {_text(_called(step.action))}</b> {_text(step.thought)}"
    if step.iou is not None:
        words += f" <i>IoU {step.iou:.2f}</i>"
    if isinstance(step.action, FinishAction | NoTargetAction | MalformedAction):
        return f'<figure class="words"><figcaption>{words}</figcaption></figure>'
    mask = None if step.mask is None else story.mask(step.mask)
    if mask is None and step.observation and not isinstance(step.action, ZoomAction):
        words += f" → {_text(step.observation)}"
    return _figure(drawing.turn(view, loaded.truth, step.action, mask), words)


def _called(action: ActionDocument) -> str:
    match action:
        case SegmentAction():
            refined = f" refining {action.base_mask}" if action.base_mask else ""
            points = f", {len(action.points)} points" if action.points else ""
            return f"segment{refined}{points}"
        case ZoomAction():
            return "zoom"
        case FinishAction():
            return f"finish {', '.join(map(str, action.mask_ids))}"
        case NoTargetAction():
            return f"report no target: {action.reason}"
        case MalformedAction():
            return f"malformed ({action.kind.value}): {action.excerpt}"


def _figure(url: str, words: str) -> str:
    return f'<figure><img src="{url}" alt="" width="{drawing.WIDTH}"><figcaption>{words}</figcaption></figure>'


def _tables(markdown: str) -> str:
    """A Markdown table as HTML."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()]
    head = "".join(f"<th>{_text(cell)}</th>" for cell in lines[0])
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in line) + "</tr>" for line in lines[2:])
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(value: object) -> str:
    return html.escape(str(value))
