"""Trajectories: episodes that a scripted expert plays with the real segmenter, written down for training.

    python -m rsagent.training.synthesis make -o runs/trajectories     from the collage world
    python -m rsagent.training.synthesis --help                        from a folder of one's own, and the rest

A folder of trajectories holds

    trajectories.jsonl   one trajectory a line, the chosen ones: `records.Trajectory`
    steps.jsonl          one line for each learnt turn, for trainers that learn a conversation's last message only
    images/ab/ab….jpg    every picture once, named by its content
    dataset_info.json    what LLaMA-Factory reads the two files by
    composition.md       how many of which sort
    index.html           a page to look at some of them
    shards/              what was played, before choosing; an interrupted run goes on from it

A line of `trajectories.jsonl` (all paths are relative to the folder; all boxes are original-image pixels, xyxy):

    id             unique; `world-train-1234-2-slip`: source, split, scene, number, plan
    messages       [{"role", "content": [{"type": "text", "text"} | {"type": "image"}]}]: the episode's own history,
                   ending with an assistant's turn. This is the form TRL takes, images in the order of their parts
    images         paths, one for each image part
    learnt         one bool for each assistant message: false for a slip that a later turn mends, which must not be
                   imitated. User messages (pictures, observations) are never learnt
    conversations  the same as `messages` in LLaMA-Factory's form ("from", "value", `<image>` in the text)
    meta           kind of request, split, dialect, plan, budget, stop reason, final IoU, the request, the names and
                   boxes and masks (COCO RLE) that it means, and of every turn: tool, thought, what it is about, box,
                   points, IoU of its mask with what it is about

`records.read(folder)` gives them back as objects, with `path(folder, image)` for the pictures. `steps.jsonl` has
`prompt`, `completion` and `images` (TRL learns completions alone) and `conversations` (LLaMA-Factory with
`mask_history: true`).
"""

from rsagent.training.synthesis.records import Trajectory, read

__all__ = ["Trajectory", "read"]
