from __future__ import annotations

import pytest
import torch
from tests.training.policy.stages import model

from rsagent.training.policy.shape import PATCH
from rsagent.training.policy.tower import encode, patchify
from rsagent.training.policy.vision import NEIGHBOURS, look_around


def test_the_batched_tower_computes_what_transformers_computes() -> None:
    visual = model().model.visual
    images = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    flat = patchify(images).view(-1, 3, 1, PATCH, PATCH).expand(-1, -1, 2, -1, -1).reshape(48, -1)
    with torch.no_grad():
        theirs = visual(flat, grid_thw=torch.tensor([[1, 4, 6], [1, 4, 6]]), return_dict=True)
        ours = encode(visual, images)
    torch.testing.assert_close(ours.merged.flatten(0, 1), theirs.pooler_output, atol=1e-5, rtol=1e-4)
    for mine, other in zip(ours.deepstack, theirs.deepstack_features, strict=True):
        torch.testing.assert_close(mine.flatten(0, 1), other, atol=1e-5, rtol=1e-4)


def test_a_view_must_be_whole_cells() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        patchify(torch.zeros(1, 64, 80, 3, dtype=torch.uint8))


def test_heads_start_out_looking_at_their_neighbour() -> None:
    from rsagent.training.policy.tower import _positions, _rotate

    visual = model().model.visual
    kept = {name: p.clone() for name, p in visual.state_dict().items()}
    look_around(visual)
    attention = visual.blocks[0].attn
    _, _, places = _positions(14, 14, visual.num_grid_per_side)
    cos, sin = visual.rotary_pos_emb(torch.zeros(1), places)
    with torch.no_grad():
        query, key, _ = attention.qkv(torch.zeros(1, 196, 192)).view(196, 3, 3, -1).permute(1, 2, 0, 3)
        scores = _rotate(query, cos, sin) @ _rotate(key, cos, sin).transpose(-1, -2)
    middle = int(((places[:, 0] == 7) & (places[:, 1] == 7)).nonzero()[0])
    for head, offset in enumerate(NEIGHBOURS[0]):
        looked = places[scores[head, middle].argmax()] - 7
        assert tuple(looked.tolist()) == offset
    visual.load_state_dict(kept)
