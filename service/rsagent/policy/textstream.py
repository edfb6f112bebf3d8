"""Sampled tokens as text, piece by piece, up to a stop string."""

from __future__ import annotations

from typing import Any

from tokenizers.decoders import DecodeStream


class TextStream:
    """Decodes one turn. What `push` and `flush` returned, joined, is `text`."""

    def __init__(self, tokenizer: Any, stop: tuple[str, ...]) -> None:
        """`tokenizer` is a `tokenizers.Tokenizer`; `stop` strings are kept, what follows them is not."""
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=False)
        self._stop = tuple(string for string in stop if string)
        self._ids: list[int] = []
        self.text = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that this token completes: empty inside a character of several tokens."""
        self._ids.append(token)
        return self._add(self._stream.step(self._tokenizer, token) or "")

    def flush(self) -> str:
        """What an unfinished character still holds back, as replacement characters."""
        whole: str = self._tokenizer.decode(self._ids, skip_special_tokens=False)
        return self._add(whole[len(self.text) :] if not self.stopped and whole.startswith(self.text) else "")

    def _add(self, piece: str) -> str:
        text = self.text + piece
        ends = [found + len(stop) for stop in self._stop if (found := text.find(stop, self._reach(stop))) >= 0]
        if ends:
            self.stopped = True
            text = text[: min(ends)]
        piece = text[len(self.text) :]
        self.text = text
        return piece

    def _reach(self, stop: str) -> int:
        """Where a stop string that the newest piece completes can start at the earliest."""
        return max(0, len(self.text) - len(stop) + 1)
