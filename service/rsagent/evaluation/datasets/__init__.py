"""Data sets as lists of samples: a module for each format, a function for each data set.

    collages(300, wording="train")                          our world; `unseen` for facts that no training saw
    reasonseg(Path("ReasonSeg"), "val")
    refcoco(Path("refer_seg"), "refcocog", "test", "umd")
    grefcoco(Path("refer_seg"), "val")
    coco(Path("instances.json"))                            COCO itself, or anything in its format

All raise `DatasetError` for files that are missing or broken, naming the file and what to do. Loading a list reads no
picture: `Sample.load` does, one at a time.
"""

from rsagent.evaluation.datasets.coco import coco
from rsagent.evaluation.datasets.collages import collages, unseen
from rsagent.evaluation.datasets.files import DatasetError
from rsagent.evaluation.datasets.grefcoco import grefcoco
from rsagent.evaluation.datasets.reasonseg import reasonseg
from rsagent.evaluation.datasets.refcoco import refcoco

__all__ = ["DatasetError", "coco", "collages", "grefcoco", "reasonseg", "refcoco", "unseen"]
