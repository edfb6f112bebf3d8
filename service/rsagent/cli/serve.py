"""`rsagent serve`: the HTTP service in the foreground."""

from __future__ import annotations

import time

from rich.console import Console

from rsagent import settings
from rsagent.api import server
from rsagent.errors import NotConfigured
from rsagent.examples import load as examples

PRINT_SECONDS = 10.0


def serve(host: str | None, port: int | None, profile: str | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, with the settings' address and profile unless others are given."""
    console = Console(stderr=True)
    given = {"host": host, "port": port}
    address = {name: value for name, value in given.items() if value is not None}
    chosen = settings.load(server=address, **({} if profile is None else {"profile": profile}))
    console.print(f"[dim]loading: policy {_policy(chosen)}, segmenter {chosen.segmenter.variant}[/]", highlight=False)
    check_free(chosen.server)
    progress = Progress(console)

    def announce(url: str) -> None:
        progress.end()
        console.print(welcome(url), highlight=False, soft_wrap=True)

    try:
        server.serve(chosen, announce, progress.tell)
    finally:
        progress.end()


def check_free(chosen: settings.ServerSettings) -> None:
    """Raise NotConfigured where something listens on the port already: better said before models are loaded."""
    if chosen.shared:
        return
    try:
        server.bound(chosen).close()
    except OSError as error:
        raise NotConfigured(
            f"cannot listen on {chosen.host}:{chosen.port} ({error.strerror}): end what is there, or choose another "
            f"port: rsagent serve --port {chosen.port + 1} (make serve PORT={chosen.port + 1}); 0 takes a free one"
        ) from error


class Progress:
    """One line that says how a start goes on; where nobody watches a terminal, a new one every ten seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("", spinner="line")
        self._printed = time.monotonic()

    def tell(self, progress: str) -> None:
        if self._console.is_terminal:
            self._status.update(f"[dim]{progress}[/]")
            self._status.start()
        elif time.monotonic() - self._printed >= PRINT_SECONDS:
            self._printed = time.monotonic()
            self._console.print(progress, style="dim", highlight=False, soft_wrap=True)

    def end(self) -> None:
        self._status.stop()


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
    if chosen.policy.kind == "vllm":
        return f"{chosen.policy.vllm.checkpoint} in vLLM"
    if chosen.policy.kind == "openai":
        return f"at {chosen.policy.openai.base_url}"
    return chosen.policy.local.checkpoint
