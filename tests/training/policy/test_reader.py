from __future__ import annotations

import torch
from tests.training.policy.stages import model, scribe

from rsagent.training.policy.reader import causal, read, token_places


def test_branches_of_a_shared_past_are_what_transformers_reads_in_one_go() -> None:
    language, head = model().model.language_model, model().lm_head
    ids = torch.arange(20, 52)[None]
    with torch.no_grad():
        theirs = head(language(input_ids=ids, use_cache=False).last_hidden_state)
        x, places = language.embed_tokens(ids), torch.arange(32).expand(3, 1, -1)
        _, past = read(language, x[:, :20], places[..., :20], causal(20))
        twice = x[:, 20:].expand(2, -1, -1)
        states, _ = read(language, twice, places[..., 20:].expand(-1, 2, -1), causal(12, 20), past)
    torch.testing.assert_close(head(states), theirs[:, 20:].expand(2, -1, -1), atol=1e-4, rtol=1e-4)


def test_positions_are_those_of_transformers() -> None:
    image = scribe().image
    ids = torch.tensor([1, 2, *[image] * 6, 3, 4, *[image] * 4, 6])
    theirs, _ = model().model.get_rope_index(
        ids[None],
        mm_token_type_ids=(ids == image).int()[None],
        image_grid_thw=torch.tensor([[1, 4, 6], [1, 4, 4]]),
    )
    assert torch.equal(token_places(ids, image, [(2, 3), (2, 2)]), theirs[:, 0])


def test_a_place_sees_the_past_and_itself() -> None:
    seen = causal(2, 3) == 0
    assert seen.tolist() == [[True, True, True, True, False], [True] * 5]
