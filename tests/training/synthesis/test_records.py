from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from pydantic import ValidationError
from tests.training.synthesis.studio import Blunt, acted, request, trajectory

from rsagent.masks import rle
from rsagent.policy.chat import images_of
from rsagent.training.synthesis.records import (
    CHOSEN,
    Message,
    Part,
    TrajectoriesMissing,
    Trajectory,
    conversation,
    dataset_info,
    learnt_turns,
    read,
    write,
)
from rsagent.training.synthesis.transcript import Gallery


def test_a_trajectory_is_the_episodes_own_history() -> None:
    one = acted(request(0), "mistaken")
    told = trajectory(one)
    for message, said in zip(told.messages, one.state.history, strict=False):
        assert message.role == said.role
        assert "".join(part.text or "" for part in message.content) == said.text
    assert told.messages[-1].role == "assistant"
    assert len(told.images) == len(images_of(one.state.history))
    assert [step.tool for step in told.meta.steps][-1] == "finish"


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    made = [trajectory(acted(request(*targets)), f"t-{targets}") for targets in ((0,), (0, 1), ())]
    assert write(tmp_path / CHOSEN, made) == 3
    assert list(read(tmp_path)) == made


def test_trl_reads_messages_of_parts_with_a_picture_for_each_place(tmp_path: Path) -> None:
    write(tmp_path / CHOSEN, [trajectory(acted(request(0)))])
    line = json.loads((tmp_path / CHOSEN).read_text(encoding="utf-8"))
    for message in line["messages"]:
        assert isinstance(message["content"], list)
        for part in message["content"]:
            assert part["type"] in ("text", "image")
            assert ("text" in part) == (part["type"] == "text")
    places = [part for message in line["messages"] for part in message["content"] if part["type"] == "image"]
    assert len(places) == len(line["images"])


def test_llama_factory_reads_turns_that_alternate_and_a_mark_for_each_picture() -> None:
    told = trajectory(acted(request(0)))
    speakers = [turn["from"] for turn in told.conversations]
    assert speakers[0] == "system"
    assert speakers[1::2] == ["human"] * len(speakers[1::2])
    assert speakers[2::2] == ["gpt"] * len(speakers[2::2])
    assert len(speakers) % 2 == 1
    assert sum(turn["value"].count("<image>") for turn in told.conversations) == len(told.images)
    info = dataset_info()["rsagent_trajectories"]
    assert info["columns"] == {"messages": "conversations", "images": "images"}


def test_an_image_tag_that_a_user_wrote_is_no_picture() -> None:
    said = Message(role="user", content=(Part(type="image"), Part(type="text", text="the <image> sign")))
    assert conversation([said])[0]["value"].count("<image>") == 1


def test_each_learnt_turn_is_a_completion_and_a_slip_is_none() -> None:
    told = trajectory(acted(request(0), "mistaken"))
    turns = list(learnt_turns(told))
    assert len(turns) == sum(told.learnt) < told.turns
    for turn in turns:
        places = sum(part.type == "image" for message in turn.prompt for part in message.content)
        assert places == len(turn.images)
        assert turn.completion[0].role == "assistant"
        assert turn.prompt[-1].role == "user"
    said = {turn.completion[0] for turn in turns}
    slips = [m for m, learnt in zip(told.messages[2::2], told.learnt, strict=True) if not learnt]
    assert not said & set(slips)


def test_pictures_are_written_once_and_are_what_the_policy_saw(tmp_path: Path) -> None:
    one, gallery = acted(request(0)), Gallery(tmp_path, "png")
    gallery.hang(one)
    gallery.hang(one)
    shown = images_of(one.state.history)
    assert len(list(tmp_path.rglob("*.png"))) == len({image.uuid for image in shown})
    assert not list(tmp_path.rglob("*.partial"))
    read_back = cv2.imread(str(tmp_path / gallery.name(shown[0])))
    assert read_back is not None
    assert (cv2.cvtColor(read_back, cv2.COLOR_BGR2RGB) == shown[0].pixels).all()


def test_what_is_meant_is_told_exactly() -> None:
    one = acted(request(0, 1))
    told = trajectory(one)
    for meant, placed in zip(told.meta.meant, one.expert.order, strict=True):
        assert (rle.decode(meant.counts, *told.meta.size) == placed.mask).all()
        assert meant.name == placed.name


def test_a_trajectory_that_does_not_add_up_is_refused() -> None:
    fields = trajectory(acted(request(0))).model_dump()
    for spoilt in ({"images": ()}, {"learnt": (True,)}, {"messages": fields["messages"][:-1]}):
        with pytest.raises(ValidationError):
            Trajectory.model_validate(fields | spoilt)


def test_a_folder_without_trajectories_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(TrajectoriesMissing, match="synthesis make"):
        next(read(tmp_path))
    (tmp_path / CHOSEN).write_text("{}\n", encoding="utf-8")
    with pytest.raises(TrajectoriesMissing, match="line 1"):
        next(read(tmp_path))


def test_a_blunt_mask_keeps_its_own_iou() -> None:
    told = trajectory(acted(request(0), segmenter=Blunt(lacking=0.4)))
    ious = [step.iou for step in told.meta.steps if step.iou >= 0]
    assert ious == sorted(ious)
    assert ious[0] < 0.7 < ious[-1]
