"""What people open in a browser: the page to try the service on, its examples, and the documentation."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from rsagent import examples
from rsagent.api.openapi import not_found

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Everything comes from this server, nothing inline is run, and the pages may be put into no other page."""

HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "Referrer-Policy": "no-referrer"}
"""`no-cache`: kept, but asked for again, so that an upgraded service is not shown by an old page."""

router = APIRouter(tags=["examples"])


class _Static(StaticFiles):
    """What the pages are made of."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or 304 where the browser has it."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def install(app: FastAPI) -> None:
    """Serve what the pages are made of, under /static."""
    app.mount("/static", _Static(packages=[("rsagent.api", "static")]), name="static")


class ExampleDocument(BaseModel):
    """A shipped picture and requests that fit it."""

    name: str = Field(examples=["01"])
    title: str
    url: str = Field(description="Where the picture is, on this server.")
    sentences: list[str]


@router.get("/", include_in_schema=False)
async def index() -> HTMLResponse:
    """A page to try the service on."""
    return HTMLResponse(_page("index.html"), headers=HEADERS)


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """The API's documentation, drawn from /openapi.json by the page itself: it needs no network."""
    return HTMLResponse(_page("docs.html"), headers=HEADERS)


@router.get("/v1/examples")
async def list_examples() -> list[ExampleDocument]:
    """The shipped pictures, each with sentences to try."""
    return [
        ExampleDocument(
            name=example.path.stem,
            title=example.name,
            url=f"/v1/examples/{example.path.name}",
            sentences=list(example.sentences),
        )
        for example in examples.load()
    ]


@router.get(
    "/v1/examples/{file}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, **not_found("No such picture.")},
)
async def example_picture(file: str) -> FileResponse:
    """One of the shipped pictures."""
    path = next((example.path for example in examples.load() if example.path.name == file), None)
    if path is None:
        raise HTTPException(404, "there is no such example: see /v1/examples")
    return FileResponse(path, headers={"Cache-Control": "max-age=3600"})


@cache
def _page(name: str) -> str:
    return files("rsagent.api").joinpath("static", name).read_text(encoding="utf-8")
