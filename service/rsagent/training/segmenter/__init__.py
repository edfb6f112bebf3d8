"""The recipe of the nano segmenter: about five and a half hours of one CPU core.

Collages of cut-outs and of random silhouettes (`material`, `shapes`, `pieces`, `collage`) and scenes of the world's
training split (`scenes`) become prompts and targets (`prompts`); `train` runs one stage, and each starts from the
running mean of the one before. The backbone was trained by others and is never trained here (`rsagent.segmenter.lite`).

The shipped weights came about like this. The first six stages had a convolutional stem of our own and masks from the
8 px cells alone (code at commit 541d918; the options of each are in `segmenter/weights/nano.json`); `l192` added the
details, and `m192` put the backbone in the stem's place, whose ViT, neck and decoder went on from what they were:

    python -m rsagent.training.segmenter train runs/l192 --side 192 --minutes 34 --images 4 --each 4 --lr 8e-4 \\
        --lr-end 6e-4 --scenes 0.4 --refine 0.4 --grouping 0.2 --seed 3 --start runs/k256/mean.safetensors
    python -m rsagent.training.segmenter train runs/m192 --side 192 --minutes 40 --images 4 --each 4 --lr 1e-3 \\
        --lr-end 6e-4 --scenes 0.5 --refine 0.3 --grouping 0.3 --seed 4 --start runs/l192/mean.safetensors
    python -m rsagent.training.segmenter train runs/m256 --side 256 --minutes 45.5 --images 4 --each 4 --lr 8e-4 \\
        --lr-end 1e-6 --scenes 0.5 --refine 0.35 --grouping 0 --seed 5 --start runs/m192/mean.safetensors
    python -m rsagent.training.segmenter train runs/n256 --side 256 --minutes 10.2 --images 4 --each 4 --lr 4e-4 \\
        --lr-end 1e-6 --scenes 0.35 --refine 0.35 --grouping 0 --average 0.99 --seed 6 \\
        --start runs/blend/mean.safetensors
    python -m rsagent.training.segmenter train runs/o256 --side 256 --minutes 98 --images 4 --each 4 --lr 6e-4 \\
        --lr-end 1e-6 --scenes 0.4 --refine 0.3 --grouping 0 --average 0.995 --seed 7 --start runs/n256/mean.safetensors
    python -m rsagent.training.segmenter train runs/p320 --side 320 --minutes 50 --images 4 --each 4 --lr 6e-4 \\
        --lr-end 1e-6 --scenes 0.5 --refine 0.2 --grouping 0 --average 0.994 --seed 8 --start runs/o256/mean.safetensors
    python -m rsagent.training.segmenter export runs/p320/mean.safetensors service/rsagent/segmenter/weights/nano \\
        --stage runs/l192 --stage runs/m192 --stage runs/m256 --stage runs/n256 --stage runs/o256 --stage runs/p320 \\
        --coco FOLDER

`m192` was ended after 30 of its 40 minutes. `m256` was stopped once at its 14th minute and resumed with more crowds of
small things (`collage.MODES`). `blend` is the mean of the weights of `m192` and `m256`; for `n256` the boxes were
jittered more (`prompts.BOX_NOISE`) and `losses.INSIDE` came in. `o256` was ended after 31 of its minutes, at a still
high rate; its collages changed on the way: figures, marks, joined pieces and twins after 10 minutes, thin things after
15. In `p320` came sides that fade, more marks, and tables (`collage.MODES`, "laid") after 9 minutes; it began with 40 %
of scenes. Whoever begins anew leaves the first seven stages out, gives `m192` an hour and no `--start`, and before it a
lesson at 128 px without prompts (`--side 128 --minutes 10 --each 1 --dense-only --lr 1.2e-3`); that short way has not
been tried to its end.

What was learned on the way, in the order of what it cost to find out:

- A plain 8×8 patch embedding and six ViT blocks had learned next to nothing of figure and ground after half an hour; a
  convolutional stem and three blocks had after two minutes. The dense grouping lesson (`losses.Grouping`) shows which
  it is: it falls at once or hardly at all, and needs no decoder.
- Three hours of collages do not replace a backbone that has seen photographs: two and a half minutes after it took our
  own stem's place, held-out collages were better than after all the time before (0.80 on the first 12; before, 0.78 on
  the first 30). Frozen, it also costs less.
- SAM's random positional frequencies keep the decoder on a plateau of empty masks; see `train._frequencies`.
- With ReLUs and a rate of 1.2e-3, nine in ten units of the decoder's MLPs were dead within ten minutes, for good.
- Muon, `channels_last` for the whole model and fused attention brought training nothing; `torch.compile` needs longer
  to compile than it could give back.  Larger pictures last: a step at 128 px costs a fifth of one at 256 px.
- The three outputs must all be right for a box: as long as only the best of them learnt, the one believed best was
  1.5 points of IoU behind the single-mask output.
- Corrections must be trained on the mask that will be carried over, the one believed best of three: then a click upon
  it helps (0.779 → 0.792 on collages), where it used to harm (0.761 → 0.751).
- Small things want pixels: `n256` gained 1.8 points at 384 px on the first fifty photographs, `o256` 1.5 points on
  thirty collages between 320 and 384 px, without a step of training there.
- Objects whose parts are unlike each other (`pieces.MARKED`, `JOINED`), rendered and painted figures, twins: with them
  the first fifty photographs went from 0.620 to 0.636 within 650 steps. Which of them did it was not taken apart.
- What helps tight boxes can harm loose ones: cutting the mask off at the box gives half a point on photographs, and
  takes three from collages where the box is off by a fifth of its side. A soft prior costs those less than a point.
- Collages can be too hard: with fewer patchwork grounds and less jitter on boxes, photographs gained as well.
"""
