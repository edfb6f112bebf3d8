"""Data sets as lists of samples: a module for each format, a function for each data set."""

from rsagent.evaluation.datasets.collages import collages, unseen

__all__ = ["collages", "unseen"]
