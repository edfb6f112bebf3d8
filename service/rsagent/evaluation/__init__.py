"""Evaluation: samples with known masks, asked of an agent and scored. `rsagent eval` is its command.

    from rsagent.evaluation import Sample, asking, evaluate, playing
    from rsagent.evaluation.datasets import collages

    samples = collages(300, wording="train")                # or reasonseg(…), refcoco(…), grefcoco(…), coco(…)
    report = await evaluate(samples, playing(Runner(policy, segmenter), Budget(turns=8)))
    report.giou, report.ciou                                # 0 … 1
    report.figures["reasoning"].giou_95                     # of a kind; of "all", "small targets", and tags, too
    report.all.turns_solved, report.all.malformed_per_turn, report.all.absent_said_absent
    print(report.markdown)                                  # by kind, with intervals
    report.over(baseline)["all"].gain_95                    # paired gain over another report on the same samples
    [row.iou for row in report.rows]                        # in the samples' order; `Row` says what else there is

`evaluate` asks an `Answer`: any `async (image, query) -> Attempt`. `playing` makes one of a `Runner` (the loop that
serves), `asking` one of a client of a running service. Who plays episodes anyway scores them without it:
`score(sample, sample.load(), told(result))` is the row of an `EpisodeResult`, and `Report(rows)` the figures of rows.
A sample of one's own is `Sample.of(id, image, query, kind, *target_masks)`, without masks where nothing is meant.

Conventions. gIoU is the mean of the samples' IoUs, cIoU the sum of intersections over the sum of unions; pixels of an
`ignore` mask are left out of both. Where nothing is meant, saying so has IoU 1 and anything else 0. What failed, and
what could not be read, has IoU 0 with the truth's pixels in the union: nothing is skipped, and reports say
scored/total.
"""

from rsagent.evaluation.answering import Answer, Halted, asking, playing, told
from rsagent.evaluation.attempt import Attempt, Step
from rsagent.evaluation.evaluate import evaluate
from rsagent.evaluation.figures import Figures, Gain
from rsagent.evaluation.report import Report, overall, table
from rsagent.evaluation.samples import Loaded, Sample, subset
from rsagent.evaluation.score import Row, score

__all__ = [
    "Answer",
    "Attempt",
    "Figures",
    "Gain",
    "Halted",
    "Loaded",
    "Report",
    "Row",
    "Sample",
    "Step",
    "asking",
    "evaluate",
    "overall",
    "playing",
    "score",
    "subset",
    "table",
    "told",
]
