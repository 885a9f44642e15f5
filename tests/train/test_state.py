"""The batch schedule of the paper."""

from headwater.train.settings import Stage
from headwater.train.state import Progress


def test_the_batch_grows_by_two_of_the_original_after_fifteen_validations_without_a_rise():
    stage = Stage(chip_px=32, batch_size=4, steps=10, learning_rate=0.1, accumulate=3)
    progress = Progress().validated(0.5, 15)
    assert (progress.best, progress.stale, progress.batches(stage)) == (0.5, 0, 3)
    for _ in range(14):
        progress = progress.validated(0.5, 15)
    assert progress.batches(stage) == 3
    progress = progress.validated(0.4, 15)
    assert (progress.batches(stage), progress.stale) == (9, 0)
    for _ in range(15):
        progress = progress.validated(0.4, 15)
    assert progress.batches(stage) == 15


def test_a_rise_starts_the_count_anew_and_no_growth_is_the_default():
    progress = Progress(best=0.5, stale=14).validated(0.6, 15)
    assert (progress.best, progress.stale, progress.growths) == (0.6, 0, 0)
    for _ in range(100):
        progress = progress.validated(0.1, 0)
    assert progress.growths == 0
