"""A report as files: JSON for programs, Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rsagent.evaluation.journal import Config
from rsagent.evaluation.report import Report, overall, table


def write(folder: Path, config: Config, reports: Mapping[str, Report]) -> None:
    """`report.json` and `report.md` into a folder that is there."""
    text = json.dumps(document(config, reports), indent=1, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown(config, reports), encoding="utf-8")


def document(config: Config, reports: Mapping[str, Report]) -> dict[str, Any]:
    """All figures of all runs, and what each later run gains over the first."""
    first, *later = reports.items()
    gains = {name: {group: asdict(one) for group, one in report.over(first[1]).items()} for name, report in later}
    return {
        "config": config,
        "runs": {name: report.as_json() for name, report in reports.items()},
        "gains": {"over": first[0], "runs": gains},
    }


def markdown(config: Config, reports: Mapping[str, Report]) -> str:
    """The tables, and what they were made with."""
    made = "\n".join(f"- {name}: {value}" for name, value in config.items())
    return f"# Evaluation\n\n{table(reports)}\n\n{overall(reports)}\n\nMade with\n\n{made}\n"
