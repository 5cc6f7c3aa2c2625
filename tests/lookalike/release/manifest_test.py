import json
import os
import pickle

import pytest

from lookalike.release.manifest import MANIFEST_FILE, ReleaseError, read_manifest, verify, write_manifest

HELLO_SHA256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture
def directory(tmp_path):
    release = tmp_path / "release"
    (release / "index").mkdir(parents=True)
    (release / "index" / "a.bin").write_bytes(b"hello")
    (release / "metrics.json").write_text("{}")
    (release / ".hidden").write_text("x")
    return release


def test_a_manifest_lists_every_file_with_its_hash(directory):
    written = write_manifest(directory, {"version": 3})
    assert verify(directory) == read_manifest(directory) == written
    assert written.files["index/a.bin"] == HELLO_SHA256
    assert sorted(written.files) == [".hidden", "index/a.bin", "metrics.json"]
    assert written.facts == {"version": 3}


def test_the_same_content_gives_the_same_manifest(directory):
    assert write_manifest(directory, {"b": 1, "a": 2}).sha256 == write_manifest(directory, {"a": 2, "b": 1}).sha256


def test_a_large_file_is_hashed_to_its_end(directory):
    large = bytearray(3_000_000)
    (directory / "large.bin").write_bytes(large)
    write_manifest(directory, {})
    large[-1] = 1
    (directory / "large.bin").write_bytes(large)
    with pytest.raises(ReleaseError, match=r"large\.bin has changed"):
        verify(directory)


def change_a_byte(directory):
    (directory / "index" / "a.bin").write_bytes(b"hellp")


def cut_a_file(directory):
    (directory / "index" / "a.bin").write_bytes(b"hell")


def remove_a_file(directory):
    (directory / "index" / "a.bin").unlink()


def add_a_file(directory):
    (directory / "index" / "b.bin").write_bytes(b"")


def add_a_folder_with_a_manifest_of_its_own(directory):
    (directory / "more").mkdir()
    (directory / "more" / MANIFEST_FILE).write_text("{}")


def rename_a_file(directory):
    (directory / "index" / "a.bin").rename(directory / "index" / "A.bin")


def link_a_file(directory):
    (directory / "index" / "a.bin").unlink()
    (directory.parent / "same.bin").write_bytes(b"hello")
    (directory / "index" / "a.bin").symlink_to(directory.parent / "same.bin")


def link_a_folder(directory):
    (directory / "index").rename(directory.parent / "elsewhere")
    (directory / "index").symlink_to(directory.parent / "elsewhere")


def make_a_pipe(directory):
    os.mkfifo(directory / "index" / "pipe")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_a_byte, "a.bin has changed"),
        (cut_a_file, "a.bin has changed"),
        (remove_a_file, "a.bin is in the manifest and missing"),
        (add_a_file, "b.bin is not in the manifest"),
        (add_a_folder_with_a_manifest_of_its_own, "more/manifest.json is not in the manifest"),
        (rename_a_file, "A.bin is not in the manifest"),
        (link_a_file, "a.bin must be a plain file, got a link"),
        (link_a_folder, "index must be a plain file, got a link"),
        (make_a_pipe, "pipe must be a plain file, got a link or a device"),
    ],
)
def test_every_damage_is_refused_by_name(directory, damage, message):
    write_manifest(directory, {})
    damage(directory)
    with pytest.raises(ReleaseError, match=message):
        verify(directory)


@pytest.mark.parametrize("name", ["../outside.bin", "/etc/hostname", "index/../../outside.bin"])
def test_names_that_lead_outside_are_never_opened(directory, name):
    (directory.parent / "outside.bin").write_bytes(b"hello")
    write_manifest(directory, {})
    manifest = json.loads((directory / MANIFEST_FILE).read_text())
    manifest["files"][name] = HELLO_SHA256
    (directory / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(ReleaseError, match="is in the manifest and missing"):
        verify(directory)


def test_a_pickle_is_refused_even_when_the_manifest_lists_it(directory):
    write_manifest(directory, {})
    content = pickle.dumps({"ids": [1]})
    (directory / "index" / "scann_docids.pkl").write_bytes(content)
    with pytest.raises(ReleaseError, match=r"scann_docids\.pkl is a pickle"):
        verify(directory)
    with pytest.raises(ReleaseError, match=r"scann_docids\.pkl is a pickle"):
        write_manifest(directory, {})


def test_a_link_is_refused_at_writing(directory):
    link_a_file(directory)
    with pytest.raises(ReleaseError, match=r"a\.bin must be a plain file"):
        write_manifest(directory, {})


def test_a_missing_manifest_is_named(directory):
    with pytest.raises(ReleaseError, match=r"a release must hold manifest\.json, not found in"):
        verify(directory)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"files": {}}',
        '{"format": "2", "facts": {}, "files": {}}',
        '{"format": 1, "facts": {}, "files": []}',
        '{"format": 1, "facts": {}, "files": {"a": 1}}',
        "\udcff",
    ],
)
def test_other_content_is_not_taken_for_a_manifest(directory, text):
    (directory / MANIFEST_FILE).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ReleaseError, match=r"manifest\.json must be a manifest of format 1"):
        verify(directory)


def test_a_manifest_of_a_later_format_says_what_to_do(directory):
    (directory / MANIFEST_FILE).write_text('{"format": 2, "facts": [], "contents": {}}')
    with pytest.raises(
        ReleaseError, match=r"manifest\.json must be of format 1, got 2: .* newer version; install that"
    ):
        verify(directory)


INDEX_FILES = ["ah_codebook.pb", "datapoint_to_token.npy", "dataset.npy", "hashed_dataset.npy"]
INDEX_FILES += ["scann_assets.pbtxt", "scann_config.pb", "serialized_partitioner.pb"]


DAMAGES = {
    "flipped": lambda content: content[:-1] + b"?",
    "cut": lambda content: content[: len(content) // 2],
    "grown": lambda content: content + b"?",
    "emptied": lambda content: b"",
}


@pytest.mark.parametrize("name", INDEX_FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damaged_index_file_reaches_scann(tmp_path, name, damage):
    for file in INDEX_FILES:
        (tmp_path / file).write_bytes(file.encode() * 100)
    write_manifest(tmp_path, {})
    (tmp_path / name).write_bytes(DAMAGES[damage]((tmp_path / name).read_bytes()))
    with pytest.raises(ReleaseError, match=f"{name} has changed"):
        verify(tmp_path)
