"""What a call can end with instead of an answer.

    RequestFailed              the service refused, or could not finish; `problem` is its own account
    ├── Unreachable            nobody answers at this address, or the connection broke
    └── TimedOut               the caller's own timeout passed

All are `rsagent.errors.RSAgentError`s. `str(failure)` says what to do.
"""

from __future__ import annotations

from pydantic import ValidationError

from rsagent.api.problems import Problem
from rsagent.errors import RSAgentError

RETRIED = frozenset({429, 502, 503})
"""Statuses of a retryable problem that are worth another try: a full queue, a failed engine, a restart. Not 504: what
did not end in time would not do so the next time either."""


class RequestFailed(RSAgentError):
    """The service refused or could not finish a request."""

    code = "request_failed"
    status = 502

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message, retry_after=None if problem is None else problem.retry_after)
        self.problem = problem
        """The service's own account, if it gave one: `problem.code` is stable."""

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed if it is sent again soon."""
        return self.problem is not None and self.problem.retryable and self.problem.status in RETRIED


class Unreachable(RequestFailed):
    """No answer, or only half of one. `sent` says whether the service may have begun to work on it."""

    code = "unreachable"

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent

    @property
    def may_pass(self) -> bool:
        return True


class TimedOut(RequestFailed):
    """The caller's own timeout passed; the service was hung up on."""

    code = "timed_out"
    status = 504

    @property
    def may_pass(self) -> bool:
        return False


def refusal(body: str, status: int) -> RequestFailed:
    """The failure that an answer with an error's status, or a stream's `error` event, tells of."""
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        return RequestFailed(f"HTTP {status} from something that is not RSAgent: check the address")
    return RequestFailed(f"{problem.detail} ({problem.code}, request {problem.request_id})", problem)
