"""Every error this package raises on purpose.

    RSAgentError                     500  internal
    ├── BadRequest                   400  bad_request
    │   ├── BadImage                 400  bad_image
    │   │   └── BadImageUrl          400  bad_image_url
    │   ├── Unauthorized             401  unauthorized        no API key, or one that is not known
    │   ├── Conflict                 409  conflict            an Idempotency-Key that was used for something else
    │   ├── UnsupportedFormat        415  unsupported_format
    │   ├── TooLarge                 413  too_large
    │   └── BadQuery                 422  bad_query
    ├── NotConfigured                500  not_configured      a setting, a path or a package is missing
    ├── CheckpointError              500  bad_checkpoint      weights that are absent, altered or of another shape
    ├── Overloaded                   429  overloaded          retry later
    │   └── RateLimited              429  rate_limited        this key asks too often
    ├── ShuttingDown                 503  shutting_down       retry elsewhere
    ├── DeadlineExceeded             504  timeout
    └── EngineError                  502  engine_error        a dependency failed
        ├── Unavailable              503  unavailable         it is known to be down: retry later
        ├── PolicyError              502  policy_error
        │   └── ContextOverflow      422  context_overflow    the conversation outgrew the policy's context
        └── SegmenterError           502  segmenter_error

Each class owns its public code, its HTTP status and whether a retry can help. `str(error)` is safe to show
to a client: it names what to do and nothing of the inside; the cause travels in `__cause__` and in the log.
"""

from __future__ import annotations

from typing import ClassVar


class RSAgentError(Exception):
    """Root of the hierarchy."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which a retry may succeed; None where nothing is known."""


class BadRequest(RSAgentError):
    """What the client sent cannot be served; sending it again changes nothing."""

    code = "bad_request"
    status = 400


class BadImage(BadRequest):
    """The bytes are no readable picture, or one that we refuse to open."""

    code = "bad_image"


class BadImageUrl(BadImage):
    """An address that is not fetched, or that gave no picture. It says no more, so that nobody explores by it."""

    code = "bad_image_url"


class Unauthorized(BadRequest):
    """The service asks for an API key, and there was none that it knows."""

    code = "unauthorized"
    status = 401


class Conflict(BadRequest):
    """An Idempotency-Key that already stands for another request."""

    code = "conflict"
    status = 409


class UnsupportedFormat(BadRequest):
    """A picture, but of a format outside the allow-list."""

    code = "unsupported_format"
    status = 415


class TooLarge(BadRequest):
    """More bytes or pixels than the limits allow."""

    code = "too_large"
    status = 413


class BadQuery(BadRequest):
    """The sentence or an option is missing, empty, too long or out of range."""

    code = "bad_query"
    status = 422


class NotConfigured(RSAgentError):
    """A setting, a file or an optional package is missing; the message names which."""

    code = "not_configured"


class CheckpointError(RSAgentError):
    """Weights that are absent, altered, or do not fit the architecture they claim."""

    code = "bad_checkpoint"


class Overloaded(RSAgentError):
    """A bounded queue is full."""

    code = "overloaded"
    status = 429
    retryable = True


class RateLimited(Overloaded):
    """This API key asks more often than it may."""

    code = "rate_limited"


class ShuttingDown(RSAgentError):
    """The service drains and takes nothing new."""

    code = "shutting_down"
    status = 503
    retryable = True


class DeadlineExceeded(RSAgentError):
    """The request's absolute deadline passed."""

    code = "timeout"
    status = 504
    retryable = True


class EngineError(RSAgentError):
    """A dependency failed, not the client."""

    code = "engine_error"
    status = 502
    retryable = True


class Unavailable(EngineError):
    """A dependency is known to be down, and was not asked."""

    code = "unavailable"
    status = 503


class PolicyError(EngineError):
    """The policy engine failed or answered nonsense at the protocol's level."""

    code = "policy_error"


class ContextOverflow(PolicyError):
    """The conversation has more tokens than the policy's context holds; the same request would outgrow it again."""

    code = "context_overflow"
    status = 422
    retryable = False


class SegmenterError(EngineError):
    """The segmenter failed."""

    code = "segmenter_error"
