import unicodedata

import pytest

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.names import Files, UnusableError, exact_local, exact_remote
from lookalike.storage.address import open_folder

ON_DISK = ("a.jpg", "img/b.jpg", "img/red shoe.jpg", "img/100%.jpg", unicodedata.normalize("NFD", "Röcke/Größe.jpg"))


@pytest.fixture(params=["folder", "s3"])
def files(request, tmp_path):
    if request.param == "folder":
        folder = open_folder(str(tmp_path))
        exact = exact_local(tmp_path)
    else:
        folder = open_folder(request.getfixturevalue("s3_address"))
        exact = exact_remote(folder)
    for name in ON_DISK:
        with folder.writing(name) as path:
            path.write_bytes(b"image")
    return Files(folder, exact)


@pytest.mark.parametrize("name", ON_DISK)
def test_the_file_of_a_name_is_found(files, name):
    found = files.locate(name)
    assert (found.image_id, found.is_exact) == (name, True)


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("img\\b.jpg", "img/b.jpg"),
        ("img/red%20shoe.jpg", "img/red shoe.jpg"),
        ("IMG/B.JPG", "img/b.jpg"),
        ("a.jpg?v=1699", "a.jpg"),
        ("img/red%20shoe.jpg?v=1#x", "img/red shoe.jpg"),
        ("Röcke/Größe.jpg", ON_DISK[-1]),
        (".\\IMG\\Red%20Shoe.jpg", ""),
    ],
)
def test_a_name_that_is_spelt_in_another_way_is_found_and_known_as_such(files, name, image_id):
    if not image_id:
        with pytest.raises(UnusableError, match="can be reached"):
            files.locate(name)
        return
    found = files.locate(name)
    assert (found.image_id, found.is_exact) == (image_id, False)


def test_a_name_that_two_files_nearly_have_is_neither(tmp_path):
    for name in ("x.jpg", "X.jpg"):
        (tmp_path / name).touch()
    files = Files(open_folder(str(tmp_path)), exact_local(tmp_path))
    assert files.locate("X.jpg").image_id == "X.jpg"
    with pytest.raises(UnusableError, match=r"got x\.JPG"):
        files.locate("x.JPG")


def test_the_nearest_name_is_suggested(files):
    with pytest.raises(UnusableError, match=r"got img/red_shoe\.jpg; did it mean img/red shoe\.jpg\?") as error:
        files.locate("img/red_shoe.jpg")
    assert error.value.reason is Reason.MISSING_FILE
    with pytest.raises(UnusableError) as error:
        files.locate("img/unlike.png")
    assert "did it mean" not in str(error.value)


def test_an_absolute_path_inside_the_root_is_the_file(tmp_path):
    (tmp_path / "a.jpg").touch()
    files = Files(open_folder(str(tmp_path)), exact_local(tmp_path))
    assert files.locate(str(tmp_path / "a.jpg")).image_id == "a.jpg"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("https://cdn.example/a.jpg", "download the pictures first"),
        ("/etc/passwd", "relative to its root"),
        ("..\\..\\etc\\passwd", "can be reached"),
        ("%2e%2e/secret.jpg", "can be reached"),
        ("../a.jpg", "inside its root"),
    ],
)
def test_no_spelling_leads_out_of_the_root(files, name, words):
    with pytest.raises(UnusableError, match=words):
        files.locate(name)
