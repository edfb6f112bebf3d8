import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rsagent.cli.picture import blocks

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@given(st.integers(4, 80))
def test_half_blocks_keep_the_shape(columns: int) -> None:
    lines = blocks(IMAGE, columns).plain.splitlines()
    assert all(line == "▀" * columns for line in lines)
    assert abs(2 * len(lines) / columns - 40 / 60) <= 2 / columns
