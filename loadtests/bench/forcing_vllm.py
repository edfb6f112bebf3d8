"""For vLLM's own process: a logits processor that lets one token through, the next of those that a request names.

Started with `--logits-processors loadtests.bench.forcing_vllm:Forcing`. The engine computes each step in full and
samples; of what it samples from, one token is left. It is imported where vLLM is, and imports nothing of ours.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

ARGUMENT = "rsagent_forced"
"""As in `forcing`, which cannot be imported there."""


class Forcing(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Keeps, by their place in the batch, the ids to be said and the list of those said so far."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows: dict[int, tuple[list[int], list[int]]] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow rows that come, go and move, in the order that vLLM prescribes."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._rows.pop(row, None)
        for row, params, _, said in batch_update.added:
            ids = (params.extra_args or {}).get(ARGUMENT)
            self._rows.pop(row, None)
            if ids:
                self._rows[row] = ([int(each) for each in ids], said)
        for source, target, direction in batch_update.moved:
            moved, replaced = self._rows.pop(source, None), self._rows.pop(target, None)
            if moved is not None:
                self._rows[target] = moved
            if replaced is not None and direction == MoveDirectionality.SWAP:
                self._rows[source] = replaced

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """`logits` float32 [rows, vocabulary], changed in place."""
        for row, (ids, said) in self._rows.items():
            if len(said) < len(ids):
                kept = logits[row, ids[len(said)]].clone()
                logits[row] = float("-inf")
                logits[row, ids[len(said)]] = kept
        return logits
