import multiprocessing
import os

from headwater.steps.gpu import claimed_gpu


def hold(folder, claimed, release):
    with claimed_gpu(2, folder) as number:
        claimed.put(number)
        release.wait(60)


def test_processes_take_different_gpus_and_share_when_all_are_taken(tmp_path):
    context = multiprocessing.get_context("spawn")
    claimed, release = context.Queue(), context.Event()
    process = context.Process(target=hold, args=(tmp_path, claimed, release))
    process.start()
    try:
        assert claimed.get(timeout=60) == 0
        with claimed_gpu(2, tmp_path) as second:
            assert second == 1
            with claimed_gpu(2, tmp_path) as third:
                assert third == os.getpid() % 2
        process.kill()
        process.join()
        with claimed_gpu(2, tmp_path) as freed:
            assert freed == 0
    finally:
        process.kill()
        process.join()
        claimed.close()
