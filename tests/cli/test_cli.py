import os
import re
import subprocess
import sys

import pytest

from headwater.cli import main
from headwater.cli.entry import COMMANDS, build_parser

PROMISED = {
    "plan", "search", "select", "composite", "elevation", "predict", "mosaic", "vectorize", "network", "report",
    "train", "evaluate", "demo",
}  # fmt: skip


def test_every_promised_subcommand_exists():
    assert set(COMMANDS) >= PROMISED


@pytest.mark.parametrize(
    "command",
    [[word] for word in COMMANDS]
    + [["demo", "build"], ["network", "check"], ["models", "import"]]
    + [["evaluate", "pixels"], ["evaluate", "lines"]],
)
def test_each_has_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    assert "usage: headwater" in capsys.readouterr().out


def test_help_loads_nothing_heavy():
    code = (
        "import sys, contextlib, headwater.cli as c\n"
        "with contextlib.suppress(SystemExit): c.main(['plan', '--help'])\n"
        "assert not {'numpy', 'torch', 'rasterio', 'geopandas'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("arguments", [[], ["plam"], ["plan", "--basin", "1"], ["demo"]])
def test_bad_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        build_parser().parse_args(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err


def test_bad_input_exits_with_2_and_failed_work_with_1_and_nothing_is_written(tmp_path, capsys):
    out = tmp_path / "plan.json"
    code = main(["plan", "--polygons", str(tmp_path / "none.gpkg"), "--basin", "1", "--out", str(out)])
    assert code == 2
    assert capsys.readouterr().err.count("\n") == 2
    broken = tmp_path / "a.tif"
    broken.write_bytes(b"II*\0 cut short")
    assert main(["mosaic", "--rasters", str(broken), "--out", str(tmp_path / "mosaic.vrt")]) == 1
    assert "a.tif could not be read" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_vectorize_names_the_options_it_needs(capsys):
    base = ["vectorize", "--probability", "p", "--elevation", "e", "--catchments", "c", "--out", "o"]
    assert main([*base, "--cell", "N00E000"]) == 2
    assert main(base) == 2
    assert "--streams" in capsys.readouterr().err


def test_network_without_a_file_names_what_is_missing(capsys):
    assert main(["network", "--out", "x"]) == 2
    assert "--segments" in capsys.readouterr().err


def test_evaluate_without_a_file_names_what_is_missing(capsys):
    assert main(["evaluate", "--network", "n"]) == 2
    assert "--truth" in capsys.readouterr().err


def test_network_accepts_only_known_formats(capsys):
    options = build_parser().parse_args(["network", "--format", "gpkg", "--format", "fgb", "--lakes", "l.gpkg"])
    assert options.formats == ["gpkg", "fgb"]
    files = ["--segments", "s", "--reaches", "r", "--basin", "1", "--out", "o", "--checks", "c"]
    assert main(["network", *files, "--format", "shp"]) == 2
    assert "network.formats must be a list (gpkg, fgb, geojsonseq, kml, pmtiles or published" in capsys.readouterr().err


def test_a_reader_that_closes_the_pipe_is_no_error():
    code = "import sys; from headwater.cli import main; sys.exit(main(['models', 'list']))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_steps_that_compile_nothing_load_no_compiler():
    steps = ", ".join(
        f"headwater.{step}"
        for step in (
            "geo.plan",
            "imagery.search",
            "imagery.select",
            "terrain.elevation",
            "raster.mosaic",
            "waterways.backbone_step",
        )
    )
    code = f"import sys, {steps}, headwater.report.step\nassert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "words",
    [
        "evaluate --buffer-m nan",
        "evaluate pixels --threshold inf",
        "evaluate lines --pixels 1e300",
        "models import waternet a b --pixel-m -1",
        "demo build --seed 1.5",
        "demo build --size-degrees nan 1",
        "composite --readers 100000",
    ],
)
def test_numbers_of_the_command_line_are_finite_and_bounded(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert re.search(r"is not a (whole )?number", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "needs --composite and --elevation"),
        (("--published", "x", "--tile-px", "1024"), "--tile-px is for the network"),
        (("--published", "x", "--composite", "c.tif"), "--composite is for the network"),
        (("--published", "s3://x"), "an address of s3"),
    ],
)
def test_predict_takes_the_files_of_one_source(options, words, capsys):
    code = main(["predict", "--plan", "p.json", "--cell", "N01E001", "--out", "o.tif", *options])
    assert code == 2
    assert words in capsys.readouterr().err
