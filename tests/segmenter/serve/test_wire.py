"""What goes over the wire arrives as it was, bit by bit."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rsagent.errors import Overloaded
from rsagent.segmenter.protocol import Mask, MaskCandidate, SegmentResult
from rsagent.segmenter.serve.wire import Answer, Refused

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def result(mask: Mask) -> SegmentResult:
    best = MaskCandidate(mask, np.full((4, 4), 0.75, np.float32), 0.75)
    return SegmentResult(best, encoded=True, encode_ms=3.0, decode_ms=2.0, batch_size=5)


@given(SIZES.flatmap(lambda size: arrays(np.bool_, size)))
def test_a_result_arrives_as_it_was(mask: Mask) -> None:
    sent = result(mask)
    arrived = pickle.loads(pickle.dumps(Answer.of(sent))).result()
    assert arrived.best.mask.dtype == np.bool_
    np.testing.assert_array_equal(arrived.best.mask, mask)
    np.testing.assert_array_equal(arrived.best.logits, sent.best.logits)
    assert arrived.best.score == sent.best.score
    assert replace(arrived, best=sent.best) == sent


def test_a_mask_takes_a_bit_a_pixel() -> None:
    assert len(Answer.of(result(np.zeros((100, 80), np.bool_))).bits) == 1000


def test_a_refusal_keeps_what_its_error_says() -> None:
    arrived = pickle.loads(pickle.dumps(Refused(Overloaded("full", retry_after=1.5)))).error
    assert isinstance(arrived, Overloaded)
    assert (str(arrived), arrived.retry_after) == ("full", 1.5)
