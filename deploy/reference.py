"""Write docs/reference.md: every setting, error code and metric, as the code has them.

python deploy/reference.py          # write the page
python deploy/reference.py --check  # exit with 1 where it is no longer what the code says
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from rsagent.errors import RSAgentError
from rsagent.metrics import Metrics
from rsagent.settings import NESTED, PREFIX, Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
HEAD = """# Reference

Written by `python deploy/reference.py` from the code; a test fails where the two differ. The API itself, with every
field of every document, is at `/docs` of a running service and in `/openapi.json`; [api.md](api.md) tells it in words.
"""


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def settings(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Sequence[str]]:
    """Variable, default and meaning of every setting."""
    for name, field in model.model_fields.items():
        here = (*path, name)
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings(kind, here)
        else:
            default = "by the machine" if field.default_factory else _shown(field.default)
            yield f"`{PREFIX}{NESTED.join(here).upper()}`", default, field.description or ""


def _shown(value: Any) -> str:
    return "" if value is None or value in ("", ()) else f"`{value}`"


def errors(kind: type[RSAgentError] = RSAgentError) -> Iterator[Sequence[str]]:
    """Code, HTTP status, whether a retry can help, and meaning of every error."""
    words = " ".join((kind.__doc__ or "").split())
    meaning = "Something that should not happen did." if kind is RSAgentError else words
    # What is not ours by design is shown as the root's code, and may go better a second time (`api/problems.py`).
    again = kind.retryable or kind is RSAgentError
    yield f"`{kind.code}`", str(kind.status), "yes" if again else "", meaning
    for below in kind.__subclasses__():
        if below.__module__ == kind.__module__:
            yield from errors(below)


def metrics(registry: CollectorRegistry) -> Iterator[Sequence[str]]:
    """Name as a query has it, type, labels and meaning of every metric."""
    owners = {name: owner for owner, names in registry._collector_to_names.items() for name in names}
    for family in registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = getattr(family, "_labelnames", ()) or getattr(owners.get(family.name), "_labelnames", ())
        yield f"`{name}`", family.type, ", ".join(f"`{label}`" for label in labels), family.documentation


def exported() -> CollectorRegistry:
    """The registry of a service in which everything is counted."""
    metrics, engine = Metrics(), cast(Any, SimpleNamespace(image_bytes_sent=0, retries=0))
    metrics.watch(engine)
    metrics.watch_breakers()
    metrics.watch_retries(engine)
    return metrics.registry


def page() -> str:
    """The whole page."""
    parts = (
        HEAD,
        "## Settings\n\nEach by its environment variable, or in a TOML file (`RSAGENT_CONFIG`, else `./rsagent.toml`)"
        " under the same names.\n`rsagent settings` shows the values in force.\n",
        table(("variable", "default", "meaning"), settings(Settings)),
        "## Errors\n\nThe `code` of a problem document (RFC 9457), and of the `error` event of a stream.\n",
        table(("code", "HTTP", "retry", "meaning"), errors()),
        "## Metrics\n\nAt `/metrics`, in Prometheus' text form.\n",
        table(("metric", "type", "labels", "meaning"), metrics(exported())),
    )
    return "\n".join(parts)


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page is out of date")
    text = page()
    if not parser.parse_args().check:
        PAGE.write_text(text)
    elif PAGE.read_text() != text:
        sys.exit(f"{PAGE.name} is not what the code says: run python deploy/reference.py")


if __name__ == "__main__":
    main()
