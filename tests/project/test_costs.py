import pytest

from headwater.geo.grid import Cell
from headwater.project.costs import Cost, Machine, basin_cost


def test_costs_add_up_and_a_cell_far_north_costs_less():
    both = [Cell(0, 20, 1.0), Cell(60, 20, 1.0)]
    empty = basin_cost([], margin_px=64)
    south, north, all_ = (basin_cost(part, margin_px=64) for part in (both[:1], both[1:], both))
    assert all_.cells == 2
    assert all_.sentinel2_gb == pytest.approx(south.sentinel2_gb + north.sentinel2_gb)
    assert all_.cpu_hours == pytest.approx(south.cpu_hours + north.cpu_hours - empty.cpu_hours)
    assert 0.4 < north.sentinel2_gb / south.sentinel2_gb < 0.6
    assert south.sentinel2_gb == pytest.approx(2.84, rel=0.05)
    assert (empty.cells, empty.storage_gb) == (0, 0)


def test_the_slowest_part_sets_the_days_and_cores_predict_without_a_gpu():
    cost = Cost(sentinel2_gb=86.4, cpu_hours=48, gpu_hours=24, predict_cpu_hours=480)
    with_gpu = Machine("a", cores=2, gpus=1, download_mb_s=1).days(cost)
    assert with_gpu == {"download_days": 1, "cpu_days": 1, "gpu_days": 1, "days": 1}
    without = Machine("b", cores=2, gpus=0, download_mb_s=1).days(cost)
    assert (without["cpu_days"], without["gpu_days"], without["days"]) == (11, 0, 11)
