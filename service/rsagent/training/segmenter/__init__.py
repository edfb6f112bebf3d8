"""The recipe of the nano segmenter: about an hour and a half of one CPU core, from nothing.

Collages of cut-outs and of random silhouettes (`material`, `shapes`, `collage`) become prompts and targets (`prompts`);
`train` runs one stage, and each stage starts from the running mean of the one before:

    python -m rsagent.training.segmenter train runs/dense --side 128 --minutes 10 --each 1 --dense-only --lr 1.2e-3
    python -m rsagent.training.segmenter train runs/small --side 128 --minutes 5 --each 6 --lr 8e-4 --lr-end 6e-4 \\
        --grouping 0.5 --refine 0.1 --start runs/dense/mean.safetensors
    python -m rsagent.training.segmenter train runs/middle --side 192 --minutes 26 --lr 7e-4 --lr-end 5e-4 \\
        --grouping 0.3 --refine 0.2 --start runs/small/mean.safetensors
    python -m rsagent.training.segmenter train runs/full --side 256 --minutes 25 --images 3 --each 5 --lr 5e-4 \\
        --grouping 0.2 --start runs/middle/mean.safetensors
    python -m rsagent.training.segmenter train runs/clicks --side 256 --minutes 8 --images 3 --each 6 --lr 5e-4 \
        --refine 1 --decoder-only --start runs/full/mean.safetensors
    python -m rsagent.training.segmenter export runs/clicks/mean.safetensors WEIGHTS/nano --stage runs/clicks

The weights in the package (`segmenter/weights/nano.json` has their stages and figures) took some detours and end with
`full`: `clicks` was cut short.  Their box figures were still rising slowly.

What was learned on the way, in the order of what it cost to find out:

- A plain 8×8 patch embedding and six ViT blocks had learned next to nothing of figure and ground after half an hour; a
  convolutional stem and three blocks had after two minutes.  The dense grouping lesson (`losses.Grouping`) shows which
  it is: it falls at once or hardly at all, and needs no decoder.
- SAM's random positional frequencies keep the decoder on a plateau of empty masks; see `train._frequencies`.
- With ReLUs and a rate of 1.2e-3, nine in ten units of the decoder's MLPs were dead within ten minutes, for good.
- Muon brought nothing here.  Larger pictures last: a step at 128 px costs a fifth of one at 256 px.
- Corrections want their own stage: at a quarter of the prompts, a click upon a mask that came from a box makes it a
  little worse (0.61 → 0.59 on photographs), while one upon a mask that came from a point helps (0.33 → 0.41).
- Collages can be too hard: with fewer patchwork grounds and less jitter on boxes, photographs gained as well.
"""
