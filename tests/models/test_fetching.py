"""Published weights from a repository that behaves like Dataverse."""

import shutil
import zipfile

import pytest
import torch

from headwater.core.errors import InputError, NetworkError
from headwater.fetch import download as downloads
from headwater.models.checkpoint import load_checkpoint
from headwater.models.fetching import fetch_waternet, list_waternet
from headwater.models.registry import build_network
from support.faulty_server import faulty_server
from support.fetched_files import settings_of, write_data_set

SIZES = {"base_channels": 1, "encoders": 2, "decoders": 1}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.save({"model": build_network("waternet", SIZES).state_dict()}, path)
    return path


@pytest.fixture
def server(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(downloads, "MAX_WAIT_S", 0.02)
    folder = tmp_path / "served"
    folder.mkdir()
    shutil.copy(weights, folder / "weights.pt")
    (folder / "readme.txt").write_text("read me")
    (folder / "page").write_text("<html>Are you a robot?</html>")
    with zipfile.ZipFile(folder / "outputs.zip", "w") as archive:
        archive.writestr("outputs/a.csv", "1")
    with zipfile.ZipFile(folder / "code.zip", "w") as archive:
        archive.writestr("code/train.py", "raise SystemExit")
        archive.write(folder / "weights.pt", "code/weights.ckpt")
    with faulty_server(folder) as running:
        running.folder = folder
        yield running


def serve(server, files, **traits):
    data = write_data_set(server.folder, files, wrong_md5=traits.pop("wrong_md5", False))
    names = {**data, **traits.pop("names", {})}
    server.behave(names=names, head=504, **traits)


def test_weights_are_found_checked_imported_and_described(server, tmp_path, weights, capsys):
    serve(server, {"readme.txt": "readme.txt", "outputs.zip": "outputs.zip", "weights.pt": "waternet.pt"}, busy=2)
    settings = settings_of(server, tmp_path / "data")
    out = fetch_waternet(settings)
    assert out == tmp_path / "data/waternet/waternet.safetensors"
    checkpoint = load_checkpoint(out)
    metadata = checkpoint.metadata
    assert metadata.license == "CC BY-SA 4.0"
    assert metadata.recipe.name == "release"
    assert metadata.training["imported_from"] == "model/waternet.pt"
    assert "Pierson" in metadata.training["citation"]
    assert metadata.training["source"] == "doi:10.7910/DVN/YY2XMG"
    published = torch.load(weights, weights_only=True)["model"]
    assert all(torch.equal(tensor, published[name]) for name, tensor in checkpoint.model.state_dict().items())
    card = out.with_suffix(".md").read_text()
    assert "CC BY-SA 4.0" in card
    assert "Pierson" in card
    said = capsys.readouterr().err
    size = f"{weights.stat().st_size / 1000:.3g} kB"
    assert f"to fetch into {settings.path}: model/waternet.pt of doi:10.7910/DVN/YY2XMG, version 2.1, {size}" in said
    assert not list((out.parent / "downloads").glob("[!.]*"))
    server.behave()
    assert fetch_waternet(settings) == out
    assert not server.log()


def test_weights_in_a_zip_file_are_found_by_its_table_of_contents(server, tmp_path):
    serve(server, {"outputs.zip": "outputs.zip", "code.zip": "code.zip"})
    out = fetch_waternet(settings_of(server, tmp_path / "data"))
    assert load_checkpoint(out).metadata.training["imported_from"] == "model/code.zip"
    assert [ranged for _, path, ranged in server.log() if path.endswith("/1")] != []


def test_several_files_of_weights_are_listed_and_one_is_chosen(server, tmp_path, capsys):
    serve(server, {"weights.pt": "a.pt", "code.zip": "b.ckpt", "readme.txt": "readme.txt"})
    settings = settings_of(server, tmp_path / "data")
    with pytest.raises(InputError, match=r"2 files may hold weights: model/a.pt \(.*\), model/b.ckpt") as error:
        fetch_waternet(settings)
    assert "--file NAME" in error.value.remedy
    with pytest.raises(InputError, match=r"No file of the data set is called 'c\.pt'"):
        fetch_waternet(settings, file="c.pt")
    list_waternet(settings)
    assert "model/a.pt  " in capsys.readouterr().out
    assert load_checkpoint(fetch_waternet(settings, file="a.pt")).metadata.network == "waternet"


@pytest.mark.parametrize(
    ("traits", "error", "words"),
    [
        ({"wrong_md5": True}, NetworkError, "not what the repository states: its MD5 is another one"),
        ({"names": {"/api/access/datafile/1": "page"}}, NetworkError, "it sends a web page instead of the file"),
        ({"names": {"/api/access/datafile/1": "readme.txt"}}, NetworkError, "7 bytes instead of"),
        ({"names": {"/api/datasets/:persistentId/?persistentId=doi:10.7910/DVN/YY2XMG": "page"}}, NetworkError,
         "answers with a web page that is no list of the files"),
    ],
)  # fmt: skip
def test_a_wrong_answer_leaves_nothing(server, tmp_path, traits, error, words):
    serve(server, {"weights.pt": "waternet.pt"}, **traits)
    with pytest.raises(error, match=words):
        fetch_waternet(settings_of(server, tmp_path / "data"))
    left = [path.name for path in (tmp_path / "data").rglob("[!.]*") if path.is_file()]
    assert left in ([], ["LICENSE.txt"])


@pytest.mark.parametrize(
    ("files", "words"),
    [({"readme.txt": "readme.txt"}, "No file of the data set is known to hold weights"),
     ({"readme.txt": "readme.pt"}, "is not a complete file of weights|other data than plain tensors")],
)  # fmt: skip
def test_a_data_set_without_usable_weights(server, tmp_path, files, words):
    serve(server, files)
    with pytest.raises(InputError, match=words):
        fetch_waternet(settings_of(server, tmp_path / "data"))
    assert not list((tmp_path / "data").rglob("*.safetensors"))


def test_a_limit_of_a_run_is_kept(server, tmp_path):
    serve(server, {"weights.pt": "waternet.pt"})
    with pytest.raises(InputError, match=r"more than fetch.max_gb \(0\)"):
        fetch_waternet(settings_of(server, tmp_path / "data", max_gb=0), limited=True)
