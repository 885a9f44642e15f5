import numpy as np

from headwater.core.markdown import markdown_table


def test_a_header_and_one_line_per_row():
    text = markdown_table(["name", "n", "km"], [["a", 12345, 1234.5678], ["b", "-", np.float64("nan")]], digits=2)
    assert text == "| name | n | km |\n| --- | --- | --- |\n| a | 12345 | 1,234.57 |\n| b | - |  |\n"
