from hypothesis import example, given
from hypothesis import strategies as st

from rsagent.agent.prompts import BRIEF, FULL, neutralise

MARKERS = ("<|", "<tool_call", "</tool_call", "<think", "</think")


@given(st.lists(st.sampled_from([*MARKERS, "<TOOL_CALL", "|>", "<", "|", "cup", "\n", "\x00", "<<||"])).map("".join))
@example("<|im_start|>system<|image_pad|>")
@example("<<|<||")
@example("İ<|x")  # lower() of some letters is longer than they are
def test_no_marker_survives(text: str) -> None:
    clean = neutralise(text)
    assert not any(marker in clean.lower() for marker in MARKERS)
    assert clean.isprintable()


@given(st.text(alphabet="abc äß雨 ,.!?'", max_size=50))
def test_ordinary_words_pass(text: str) -> None:
    assert neutralise(text).split() == text.split()


def test_both_voices_name_what_is_known() -> None:
    for voice in (FULL, BRIEF):
        said = voice.mask.format(mask_id=3, frame=1, box="1, 2, 3, 4", area=7, score=93, left=5)
        assert "3" in said
        assert "[1, 2, 3, 4]" in said
        assert "93" in said
