from headwater.runs.job_retries import grow_per_attempt, network_memory_mb


def test_resources_grow_with_the_attempt():
    memory = grow_per_attempt(2000)
    assert [memory(None, attempt=attempt) for attempt in (1, 2, 3)] == [2000, 4000, 6000]


def test_the_memory_of_a_network_grows_with_its_segments_and_the_attempt(tmp_path):
    path = tmp_path / "waterways.parquet"
    path.write_bytes(b"")
    assert network_memory_mb([path], 2) == 8000
    with path.open("wb") as file:
        file.truncate(200 * 2**20)
    assert network_memory_mb([path], 1) == 6000
