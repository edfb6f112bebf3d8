"""`rsagent serve`: the HTTP service in the foreground."""

from __future__ import annotations

from rich.console import Console

from rsagent import settings
from rsagent.api import server
from rsagent.examples import load as examples


def serve(host: str | None, port: int | None) -> None:
    """Serve until SIGTERM or Ctrl-C, with the settings' address unless another is given."""
    console = Console(stderr=True)
    given = {"host": host, "port": port}
    chosen = settings.load(server={name: value for name, value in given.items() if value is not None})
    console.print(f"[dim]loading: policy {_policy(chosen)}, segmenter {chosen.segmenter.variant}[/]", highlight=False)
    server.serve(chosen, lambda url: console.print(welcome(url), highlight=False, soft_wrap=True))


def welcome(url: str) -> str:
    """What a newcomer needs to know once the service listens."""
    example = examples()[0]
    return (
        f"[green]ready[/] on [bold]{url}[/] (a page to try it on; API documentation at {url}/docs)\n"
        f"  curl -N {url}/v1/segment -H 'Accept: text/event-stream' "
        f"-F image=@{example.path} -F 'query={example.sentences[0]}'\n"
        "[dim]Ctrl-C ends it.[/]"
    )


def _policy(chosen: settings.Settings) -> str:
    if chosen.policy.kind == "openai":
        return f"at {chosen.policy.openai.base_url}"
    return chosen.policy.local.checkpoint
