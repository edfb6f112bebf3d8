"""Talking to a running service: `Client`, `AsyncClient`, and what they give back."""

from rsagent.client.aio import AsyncClient
from rsagent.client.answer import Accepted, Action, Answer, Event, Found, Proposed, Thought
from rsagent.client.failures import RequestFailed, TimedOut, Unreachable
from rsagent.client.painting import paint
from rsagent.client.sync import Client

__all__ = [
    "Accepted",
    "Action",
    "Answer",
    "AsyncClient",
    "Client",
    "Event",
    "Found",
    "Proposed",
    "RequestFailed",
    "Thought",
    "TimedOut",
    "Unreachable",
    "paint",
]
