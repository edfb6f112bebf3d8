"""`python -m deploy.grafana`: write the dashboards' JSON anew, or check it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.grafana.boards import BOARDS
from deploy.grafana.panels import documents

FOLDER = Path(__file__).parent / "dashboards"


def stale() -> list[str]:
    """Files that are not what the code says, those that are too many included."""
    wanted = documents(BOARDS)
    there = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write() -> None:
    """Write all, and remove what is no more."""
    wanted = documents(BOARDS)
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)


def main() -> None:
    """Write, or check and exit with 1."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where the files are stale")
    if not parser.parse_args().check:
        write()
    elif names := stale():
        sys.exit(f"stale: {', '.join(names)}; run `python -m deploy.grafana`")


if __name__ == "__main__":
    main()
