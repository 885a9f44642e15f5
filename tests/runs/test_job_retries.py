from headwater.runs.job_retries import grow_per_attempt


def test_resources_grow_with_the_attempt():
    memory = grow_per_attempt(2000)
    assert [memory(None, input=[], attempt=attempt) for attempt in (1, 2, 3)] == [2000, 4000, 6000]


def test_the_amount_may_depend_on_the_input():
    memory = grow_per_attempt(lambda files: 10 * len(files))
    assert memory(None, input=["a", "b"], attempt=2) == 40
