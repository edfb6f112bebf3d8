"""What people open in a browser: the page to try the service on, its examples, and the documentation."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from rsagent import examples
from rsagent.api.openapi import not_found

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The pages hold everything they need; nothing is loaded from elsewhere."""

router = APIRouter(tags=["examples"])


class ExampleDocument(BaseModel):
    """A shipped picture and requests that fit it."""

    name: str = Field(examples=["01"])
    title: str
    url: str = Field(description="Where the picture is, on this server.")
    sentences: list[str]


@router.get("/", include_in_schema=False)
async def index() -> HTMLResponse:
    """A page to try the service on."""
    return HTMLResponse(_page("index.html"), headers={"Content-Security-Policy": POLICY})


@router.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """The API's documentation, drawn from /openapi.json by the page itself: it needs no network."""
    return HTMLResponse(_page("docs.html"), headers={"Content-Security-Policy": POLICY})


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
