"""Rows and samples to count with."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.api.stage import call

from rsagent.evaluation import Row, Sample

LEFT = call("segment", bbox_2d=[0, 0, 500, 999])
WHOLE = call("segment", bbox_2d=[0, 0, 999, 999])
LAST = call("finish", mask_ids=[2])

ROW = Row(
    "a", "name", "the cup", (), aside=False, small=False, absent=False, stop="finished", error=None, turns=2,
    malformed=0, zooms=0, encodes=1, iou=0.5, intersection=50, union=100, iou_by_mask=(0.5,), iou_by_turn=(0.5, 0.5),
    prompt_tokens=100, cached_tokens=40, completion_tokens=20, seconds=1.0,
)  # fmt: skip


def sample(id: str = "one", absent: bool = False, **wishes: Any) -> Sample:
    """A request about the left half of a black picture, or about nothing."""
    truth = np.zeros((64, 64), dtype=np.bool_)
    truth[:, :32] = True
    targets = () if absent else (truth,)
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    return Sample.of(id, image, "the cup", "absent" if absent else "name", *targets, **wishes)
