"""Errors as clients see them: RFC 9457 problem documents, made in one place for answers and streams alike."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from rsagent.api.waiting import ClientGone
from rsagent.errors import RSAgentError

MEDIA_TYPE = "application/problem+json"
CANCELLED = "cancelled"
"""What a request whose client went away is counted as."""
CLIENT_CLOSED_REQUEST = 499
"""nginx's code for a client that hung up; nobody receives it."""

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """What went wrong (RFC 9457). `code` is stable; `detail` is for people and says what to do."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="`urn:rsagent:problem:` and the code.", examples=["urn:rsagent:problem:bad_image"])
    title: str = Field(description="The HTTP status in words.", examples=["Bad Request"])
    status: int = Field(description="The HTTP status; in a stream, what it would have been.", examples=[400])
    detail: str = Field(examples=["the image is damaged or cut short: send the whole file"])
    code: str = Field(examples=["bad_image"])
    request_id: str = Field(description="The same as the header X-Request-ID; quote it when asking for help.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    retry_after: int | None = Field(None, description="Seconds to wait, where known.")


def problem_of(error: Exception, request_id: str) -> Problem:
    """The document of any exception. What is not ours by design is logged, and shown as `internal` alone."""
    if isinstance(error, RSAgentError):
        after = None if error.retry_after is None else math.ceil(error.retry_after)
        return _problem(error.code, error.status, str(error), request_id, error.retryable, after)
    if isinstance(error, HTTPException):
        return _problem(_code(error.status_code), error.status_code, _detail(error), request_id)
    log.error("request %s failed", request_id, exc_info=error)
    return _problem("internal", 500, "something went wrong on our side", request_id, retryable=True)


def respond(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The document as an HTTP response."""
    more = {} if problem.retry_after is None else {"Retry-After": str(problem.retry_after)}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        more["WWW-Authenticate"] = "Bearer"
    body = problem.model_dump_json(exclude_none=True)
    return Response(body, problem.status, {**(headers or {}), **more}, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""
    app.add_exception_handler(RSAgentError, _handle)
    app.add_exception_handler(HTTPException, _handle)
    app.add_exception_handler(ClientGone, _handle)


async def _handle(request: Request, error: Exception) -> Response:
    visit = getattr(request.state, "visit", None)
    if isinstance(error, ClientGone):
        if visit is not None:
            visit.outcome = CANCELLED
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    problem = problem_of(error, request.state.request_id)
    if visit is not None:
        visit.outcome = problem.code
    return respond(problem, headers)


def _problem(
    code: str, status: int, detail: str, request_id: str, retryable: bool = False, after: int | None = None
) -> Problem:
    return Problem(
        type=f"urn:rsagent:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=request_id,
        retryable=retryable,
        retry_after=after,
    )


def _detail(error: HTTPException) -> str:
    """Starlette's own errors repeat their title; ours say more."""
    if error.status_code == 404 and error.detail == HTTPStatus.NOT_FOUND.phrase:
        return "there is nothing at this address: see /docs"
    if error.status_code == 405:
        return f"this address takes {dict(error.headers or {}).get('Allow', 'another method')}: see /docs"
    return error.detail


def _code(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
