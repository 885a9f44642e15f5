"""Tables of scores as text and figures."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from headwater.evaluate.score_tables import EXISTING, NEW, draw_bars, length_table, markdown_table, write_table

NETWORK = pd.DataFrame(
    {
        "strahler_order": [1, 1, 2, 10],
        "from_tdx": [False, True, False, True],
        "length_m": [1000.0, 500.0, 250.0, 4000.0],
    }
)


def test_lengths_in_the_papers_layout():
    table = length_table(NETWORK, "strahler_order")
    assert table.index.tolist() == ["1", "2", "10", "all"]
    assert table[NEW].tolist() == [1.0, 0.25, 0.0, 1.25]
    assert table[EXISTING].tolist() == [0.5, 0.0, 4.0, 4.5]
    assert table.to_numpy()[:-1].sum() * 1000 == NETWORK["length_m"].sum()


def test_networks_of_one_source_and_of_none():
    assert length_table(NETWORK[NETWORK["from_tdx"]], "strahler_order")[NEW].tolist() == [0, 0, 0]
    assert length_table(NETWORK.iloc[:0], "strahler_order").loc["all"].tolist() == [0, 0]


def test_markdown_and_csv(tmp_path):
    table = pd.DataFrame({"P": [0.5, np.nan], "n": [3, 12345]}, index=pd.Index(["a", "b"], name="data"))
    assert markdown_table(table) == "| data | P | n |\n| --- | --- | --- |\n| a | 0.5000 | 3 |\n| b |  | 12345 |\n"
    write_table(tmp_path / "new", "scores", table, digits=2)
    assert (tmp_path / "new/scores.csv").read_text() == "data,P,n\na,0.50,3\nb,,12345\n"
    assert (tmp_path / "new/scores.md").read_text() == markdown_table(table, digits=2)
    write_table(tmp_path, "plain", table.reset_index(drop=True))
    assert (tmp_path / "plain.csv").read_text().startswith("P,n\n")


@pytest.mark.parametrize("columns", [1, 4])
def test_bars_are_drawn_alike_each_time(tmp_path, columns):
    table = pd.DataFrame({f"F{k}": [0.2, 0.9, np.nan] for k in range(columns)}, index=["x", "y", "z"])
    for name in ("a.png", "b.png"):
        draw_bars(tmp_path / name, table, title="Scores", label="score")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert len(np.unique(np.asarray(Image.open(tmp_path / "a.png")).reshape(-1, 4), axis=0)) > 10
