"""The thread that owns the model: takes jobs from a bounded queue and keeps its batch full."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

import torch

from rsagent.errors import Overloaded, PolicyError, RSAgentError, ShuttingDown
from rsagent.policy.batch import Batch, Job
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.network import Features
from rsagent.policy.settings import LocalPolicySettings

log = logging.getLogger(__name__)

SMALL = 100_000_000
"""Parameters of a model whose steps are too small to share: a second thread waits more than it computes, and takes the
core from the segmenter (measured with the nano pair on two cores: a third more episodes, a tenth less CPU each)."""


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What the engine is doing now, and what it did since it started."""

    running: int
    waiting: int
    image_encodes: int
    kept_bytes: int


class Engine:
    """Runs jobs. Every method returns at once but `close`; all may be called from any thread."""

    def __init__(self, checkpoint: Checkpoint, settings: LocalPolicySettings) -> None:
        self._batch = Batch(checkpoint, settings)
        self._threads = settings.threads or (1 if checkpoint.model.num_parameters() < SMALL else None)
        self._max_batch, self._max_waiting = settings.max_batch, settings.max_waiting
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closing = self._stale = False
        self._thread = threading.Thread(target=self._run, name="rsagent-policy", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._closing

    @property
    def full(self) -> bool:
        """Whether a job submitted now would be refused."""
        return len(self._waiting) >= self._max_waiting + max(0, self._max_batch - len(self._batch.rows))

    def submit(self, job: Job) -> None:
        """Queue a job. Raises Overloaded when the queue is full, ShuttingDown after `close`."""
        with self._changed:
            if not self.alive:
                raise ShuttingDown("the policy has stopped; send the request to another instance")
            if self.full:
                raise Overloaded("the policy's queue is full; retry in a moment", retry_after=1.0)
            self._waiting.append(job)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Stop working on a job: one that waits leaves the queue now, one that runs leaves before the next step."""
        job.cancelled = True
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)

    def forget(self) -> None:
        """Before its next job the engine drops what it kept of earlier ones: call it when the weights have changed."""
        with self._changed:
            self._stale = True

    def seen(self, uuid: str) -> Features | None:
        """The features kept of an image: only while nothing runs."""
        return self._batch.network.seen(uuid)

    def stats(self) -> EngineStats:
        batch = self._batch
        return EngineStats(len(batch.rows), len(self._waiting), batch.network.image_encodes, batch.prefixes.bytes)

    def close(self) -> None:
        """End the thread; jobs under way fail with ShuttingDown. Blocks for at most one step."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)  # of this thread: the segmenter's set their own
        with torch.inference_mode():
            while (jobs := self._next()) is not None:
                for job in jobs:
                    self._admit(job)
                self._step()
        over = ShuttingDown("the policy stopped during this turn; retry on another instance")
        self._batch.fail(over)
        while self._waiting:
            self._waiting.popleft().tell(over)

    def _next(self) -> list[Job] | None:
        """Jobs to admit now; waits while there is nothing to do. None when closing."""
        with self._changed:
            while not (self._waiting or self._batch.rows or self._closing):
                self._changed.wait()
            if self._closing:
                return None
            if self._stale:
                self._batch.forget()
                self._stale = False
            room = self._max_batch - len(self._batch.rows)
            return [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]

    def _admit(self, job: Job) -> None:
        if not job.wanted:
            return
        try:
            self._batch.admit(job)
        except RSAgentError as error:
            job.tell(error)
        except Exception as error:  # The boundary to model code: whatever it raises is this one turn's failure.
            log.exception("a prompt could not be read")
            job.tell(_failure(error))

    def _step(self) -> None:
        try:
            self._batch.step()
        except Exception as error:  # The same boundary; a step is shared, and so is its failure.
            log.exception("a generation step failed")
            self._batch.fail(_failure(error))


def _failure(error: Exception) -> PolicyError:
    if isinstance(error, torch.OutOfMemoryError):
        message = "the policy ran out of memory; retry, or configure a smaller max_batch or max_context"
    else:
        message = "the policy failed during this turn; retry, and see the server's log if it happens again"
    failure = PolicyError(message)
    failure.__cause__ = error
    return failure
