"""The settings as rows of text."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from rsagent.settings import NESTED, PREFIX


def rows(settings: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """(variable, value, meaning) of every setting; secrets stay masked."""
    for name, field in type(settings).model_fields.items():
        value, here = getattr(settings, name), (*path, name)
        if isinstance(value, BaseModel):
            yield from rows(value, here)
        else:
            yield PREFIX + NESTED.join(here).upper(), "" if value is None else str(value), field.description or ""
