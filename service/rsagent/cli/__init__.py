"""The `rsagent` command."""

from rsagent.cli.app import main

__all__ = ["main"]
