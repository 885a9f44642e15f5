from headwater.core.events import Place
from headwater.runs.benchmarks import cost_table, read_benchmarks

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def write(folder, name, row):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + "\t".join(row) + "\n")


def test_each_rule_has_a_row_in_flow_order(tmp_path):
    write(tmp_path, "12/vectorize/N40W106.tsv", ["4.0", "0:00:04", "100.5", "1", "1", "1", "2.0", "3.0", "90", "3.5"])
    write(tmp_path, "12/vectorize/N40W105.tsv", ["8.0", "0:00:08", "300.2", "1", "1", "1", "1.0", "1.5", "90", "7.5"])
    write(tmp_path, "12/plan.tsv", ["0.4", "0:00:00", *["NA"] * 8])
    (tmp_path / "12/search.tsv").write_text("not a benchmark")
    benchmarks = read_benchmarks(tmp_path)
    assert set(benchmarks) == {
        Place("12", "plan"), Place("12", "vectorize", "N40W105"), Place("12", "vectorize", "N40W106"),
    }  # fmt: skip
    plan, vectorize = cost_table(benchmarks)
    assert vectorize == {
        "rule": "vectorize", "jobs": 2, "median_s": 6.0, "max_s": 8.0, "cpu_s": 11.0, "max_rss_mb": 300.2,
        "read_mb": 3.0, "written_mb": 4.5,
    }  # fmt: skip
    assert (plan["rule"], plan["median_s"], plan["cpu_s"], plan["max_rss_mb"]) == ("plan", 0.4, None, None)


def test_a_missing_folder_gives_an_empty_table(tmp_path):
    assert cost_table(read_benchmarks(tmp_path / "none")) == []
