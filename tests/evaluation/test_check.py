from rsagent.evaluation.check import against_pycocotools


def test_our_figures_are_those_of_pycocotools_on_a_thousand_pairs() -> None:
    check = against_pycocotools(1000)
    assert check.apart < 1e-9
    assert 0.1 < check.giou < 0.9
    assert 0.1 < check.ciou < 0.9
