import hashlib
import json
import os
from dataclasses import replace
from decimal import Decimal
from unicodedata import normalize

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookalike.catalog.dead_letters import DataError, Reason
from lookalike.catalog.fingerprints import fingerprint
from lookalike.catalog.guarded_decoder import GuardedDecoder
from lookalike.catalog.notes import Notes
from lookalike.catalog.originals import ImageRejected, read_original
from lookalike.catalog.sources import Source, open_source
from lookalike.configs.settings import IngestSettings
from lookalike.storage.address import open_folder


def touch(root, *names, content=b"image"):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def opened(path, window_spans=1, **settings):
    return open_source(str(path), window_spans=window_spans, settings=IngestSettings(**settings))


def ids(source):
    return [row.image_id for row in source.rows]


def reasons(source):
    return {letter.image_id: letter.reason for letter in source.dead}


def told(source):
    return source.notes.counts


def from_csv(root, text):
    (root / "manifest.csv").write_text(text)
    return opened(root / "manifest.csv")


def from_jsonl(root, *rows):
    from_jsonl_in(root, *rows)
    return opened(root / "manifest.jsonl")


def from_jsonl_in(folder, *rows):
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


# Folders


def test_class_folders_are_labels_and_nested_ones_are_levels(tmp_path):
    touch(tmp_path, "Shoes/1.jpg", "Clothing/Tops/T-shirt/2.JPEG", "Clothing/Tops/3.webp", "4.png")
    source = opened(tmp_path)
    assert [(row.image_id, row.category) for row in source.rows] == [
        ("4.png", ""),
        ("Clothing/Tops/3.webp", "Clothing > Tops"),
        ("Clothing/Tops/T-shirt/2.JPEG", "Clothing > Tops > T-shirt"),
        ("Shoes/1.jpg", "Shoes"),
    ]
    assert source.rows[3].uri == str(tmp_path / "Shoes/1.jpg")
    assert source.rows[3].product_id == "Shoes/1.jpg"
    assert (source.dead, source.spans) == ([], [])


def test_files_that_are_no_images_are_ignored_and_refused_formats_are_not(tmp_path):
    touch(tmp_path, "hat/1.jpg", "hat/LICENSE", "hat/.DS_Store", "hat/notes.txt", "hat/._1.jpg", ".git/x.jpg")
    touch(tmp_path, "hat/2.tiff", "hat/3.heic")
    assert ids(opened(tmp_path)) == ["hat/1.jpg", "hat/2.tiff", "hat/3.heic"]


@pytest.mark.parametrize("names", [[], ["README.txt"], ["hat/.hidden.jpg"]])
def test_folder_without_images_is_refused(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match="at least one image, got none"):
        opened(tmp_path)


@pytest.mark.parametrize("source", ["/no/such/folder", "http://169.254.169.254/", "ftp://host/data", "s3://"])
def test_source_that_is_no_address_of_anything_is_refused(source):
    with pytest.raises(DataError, match="a source must be a folder or a table"):
        opened(source)


def test_class_folders_of_an_object_store_are_read_as_those_of_a_folder(s3_address, tmp_path):
    names = ("hat/1.jpg", "hat/felt/2.png", "3.jpg", "hat/.hidden.jpg", ".git/4.jpg", "hat/notes.txt")
    for name in names:
        touch(tmp_path, name)
        with open_folder(s3_address).writing(name) as path:
            path.write_bytes((tmp_path / name).read_bytes())
    remote, local = opened(s3_address), opened(tmp_path)
    assert [replace(row, uri="") for row in remote.rows] == [replace(row, uri="") for row in local.rows]
    assert [row.uri for row in remote.rows] == [f"{s3_address}/{row.image_id}" for row in local.rows]
    assert fingerprint(remote) == fingerprint(local)


def test_days_with_manifests_of_an_object_store_are_read_as_those_of_a_folder(s3_address, tmp_path):
    for day, title in (("2026-11-19", "old"), ("2026-11-20", "new"), ("2026-11-18", "too old")):
        rows = f"image,title\na.jpg,{title}\n../b.jpg,out\n".encode()
        touch(tmp_path, f"span={day}/a.jpg", content=day.encode())
        touch(tmp_path, f"span={day}/manifest.csv", content=rows)
        for name in ("a.jpg", "manifest.csv"):
            with open_folder(s3_address).writing(f"span={day}/{name}") as path:
                path.write_bytes((tmp_path / f"span={day}" / name).read_bytes())
    remote, local = opened(s3_address, window_spans=2), opened(tmp_path, window_spans=2)
    assert remote.spans == local.spans == ["2026-11-19", "2026-11-20"]
    assert [(row.image_id, row.title, row.span) for row in remote.rows] == [("a.jpg", "new", "2026-11-20")]
    assert reasons(remote) == reasons(local)
    assert read_original(remote.rows[0].uri) == b"2026-11-20"
    assert fingerprint(remote) == fingerprint(local)
    one_day = opened(f"{s3_address}/span=2026-11-18/manifest.csv")
    assert [row.title for row in one_day.rows] == ["too old"]


def test_what_an_object_store_lacks_is_told(s3_address):
    with pytest.raises(DataError, match=f"there is none at {s3_address}"):
        opened(s3_address)
    with pytest.raises(DataError, match=r"must be readable, .*manifest\.csv is not: "):
        opened(f"{s3_address}/manifest.csv")
    with pytest.raises(ImageRejected, match="MISSING_FILE"):
        read_original(f"{s3_address}/gone.jpg")


def test_links_that_leave_the_root_are_never_followed(tmp_path):
    touch(tmp_path, "outside/secret.jpg", "root/hat/1.jpg")
    (tmp_path / "root/hat/link.jpg").symlink_to(tmp_path / "outside/secret.jpg")
    (tmp_path / "root/hat/circle.jpg").symlink_to(tmp_path / "root/hat/circle.jpg")
    source = opened(tmp_path / "root")
    assert ids(source) == ["hat/1.jpg"]
    assert reasons(source) == {
        "hat/link.jpg": Reason.OUTSIDE_ROOT,
        "hat/circle.jpg": Reason.MISSING_FILE,
    }
    assert {letter.category for letter in source.dead} == {"hat"}


def test_class_folder_that_is_a_link_out_of_the_root_ends_the_run_by_name(tmp_path):
    touch(tmp_path, "outside/secret.jpg", "root/hat/1.jpg")
    (tmp_path / "root/coat").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match=r"got a link out of it: .*root/coat; move the folder"):
        opened(tmp_path / "root")


def test_class_folder_that_is_a_link_inside_the_root_is_followed_and_a_circle_is_not(tmp_path):
    touch(tmp_path, "felt/1.jpg")
    (tmp_path / "hats").mkdir()
    (tmp_path / "hats/felt").symlink_to(tmp_path / "felt")
    (tmp_path / "felt/all").symlink_to(tmp_path)
    source = opened(tmp_path)
    assert [(row.image_id, row.category) for row in source.rows] == [
        ("felt/1.jpg", "felt"),
        ("hats/felt/1.jpg", "hats > felt"),
    ]
    assert told(source) == {"links that lead in circles were not followed": 2}


def test_link_inside_the_root_and_link_to_the_root_are_fine(tmp_path):
    touch(tmp_path, "root/all/1.jpg")
    (tmp_path / "root/hat").mkdir()
    (tmp_path / "root/hat/one.jpg").symlink_to("../all/1.jpg")
    (tmp_path / "door").symlink_to(tmp_path / "root")
    source = opened(tmp_path / "door")
    assert [(row.image_id, row.uri) for row in source.rows] == [
        ("all/1.jpg", str(tmp_path / "root/all/1.jpg")),
        ("hat/one.jpg", str(tmp_path / "root/all/1.jpg")),
    ]


def test_file_name_that_is_not_unicode_is_a_bad_row(tmp_path):
    touch(tmp_path, "1.jpg")
    with open(os.fsencode(tmp_path) + b"/\xff.jpg", "wb"):  # noqa: PTH123 - pathlib takes no bytes
        pass
    source = opened(tmp_path)
    assert ids(source) == ["1.jpg"]
    assert reasons(source) == {"\\udcff.jpg": Reason.BAD_ROW}
    source.dead[0].to_json().encode()


def test_pipe_with_an_images_name_is_not_a_file(tmp_path):
    touch(tmp_path, "1.jpg")
    os.mkfifo(tmp_path / "2.jpg")
    assert reasons(opened(tmp_path)) == {"2.jpg": Reason.MISSING_FILE}


# Spans


def test_newest_spans_are_read_and_the_newest_row_of_an_id_wins(tmp_path):
    touch(tmp_path, "span=2026-11-18/hat/0.jpg", "span=2026-11-19/hat/1.jpg", "span=2026-11-19/hat/2.jpg")
    touch(tmp_path, "span=2026-11-20/hat/2.jpg", "span=2026-11-20/hat/3.jpg", "notes/ignored.jpg")
    source = opened(tmp_path, window_spans=2)
    assert source.spans == ["2026-11-19", "2026-11-20"]
    assert [(row.image_id, row.span) for row in source.rows] == [
        ("hat/1.jpg", "2026-11-19"),
        ("hat/2.jpg", "2026-11-20"),
        ("hat/3.jpg", "2026-11-20"),
    ]
    [older] = source.dead
    assert (older.image_id, older.span, older.reason) == ("hat/2.jpg", "2026-11-19", Reason.DUPLICATE_ID)


def test_window_wider_than_the_source_takes_all_spans(tmp_path):
    touch(tmp_path, "span=2026-11-20/1.jpg")
    assert opened(tmp_path, window_spans=30).spans == ["2026-11-20"]


def test_window_of_no_spans_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        opened(tmp_path, window_spans=0)


def test_span_may_be_classes_or_a_manifest(tmp_path):
    touch(tmp_path, "span=2026-11-19/hat/1.jpg", "span=2026-11-20/photos/2.jpg")
    (tmp_path / "span=2026-11-20/manifest.csv").write_text("image,category\nphotos/2.jpg,Coat\n")
    source = opened(tmp_path, window_spans=2)
    assert [(row.image_id, row.category, row.span) for row in source.rows] == [
        ("hat/1.jpg", "hat", "2026-11-19"),
        ("photos/2.jpg", "Coat", "2026-11-20"),
    ]


def test_empty_span_stops_the_run_by_name(tmp_path):
    touch(tmp_path, "span=2026-11-19/hat/1.jpg")
    (tmp_path / "span=2026-11-20").mkdir()
    with pytest.raises(DataError, match="span=2026-11-20"):
        opened(tmp_path, window_spans=2)


def test_span_of_no_real_day_or_behind_a_link_is_refused(tmp_path):
    touch(tmp_path, "a/span=2026-02-30/1.jpg", "b/real/1.jpg")
    (tmp_path / "b/span=2026-11-20").symlink_to(tmp_path / "b/real")
    with pytest.raises(DataError, match="named after a day"):
        opened(tmp_path / "a")
    with pytest.raises(DataError, match="real folder"):
        opened(tmp_path / "b")


# Manifests


def test_every_column_is_read(tmp_path):
    touch(tmp_path, "a/1.jpg")
    digest = "AB" * 32
    source = from_csv(
        tmp_path,
        "image,product_id,category,domain,split,title,brand,url,price,currency,availability,gender,crop,sha256,"
        "attr:colour,attr:fit\n"
        f'./a//1.jpg,p1, Clothing>Hats ,wild,test,"Hat, red",Häti,https://shop.example/1,9.50,eur,In stock,women,'
        f'"0.1, 0.2, 0.5, 0.5",{digest},red,\n',
    )
    [row] = source.rows
    assert (row.image_id, row.product_id, row.category) == ("a/1.jpg", "p1", "Clothing > Hats")
    assert (row.domain, row.split, row.title, row.price) == ("wild", "test", "Hat, red", "9.50")
    assert (row.gender, row.crop, row.sha256) == ("women", (0.1, 0.2, 0.5, 0.5), digest.lower())
    assert (row.brand, row.url) == ("Häti", "https://shop.example/1")
    assert (row.currency, row.availability) == ("EUR", "in_stock")
    assert row.attributes == {"colour": "red"}
    assert row.uri == str(tmp_path / "a/1.jpg")


def test_missing_values_take_their_defaults(tmp_path):
    touch(tmp_path, "1.jpg")
    missing = {"product_id": "", "category": None, "domain": None, "price": "", "crop": None, "attr:fit": None}
    [row] = from_jsonl(tmp_path, {"image": "1.jpg", **missing}).rows
    assert (row.product_id, row.category, row.domain, row.split) == ("1.jpg", "", "catalog", "")
    assert (row.price, row.crop, row.attributes) == ("", None, {})


def test_json_values_of_other_types_become_text(tmp_path):
    touch(tmp_path, "1.jpg")
    row = {"image": "1.jpg", "product_id": 17, "price": 3, "crop": [0, 0, 1, 0.5], "attr:size": 38.0, "attr:new": True}
    [read] = from_jsonl(tmp_path, row).rows
    assert (read.product_id, read.price, read.crop) == ("17", "3", (0.0, 0.0, 1.0, 0.5))
    assert read.attributes == {"new": "true", "size": "38"}


def test_parquet_with_missing_numbers_and_decimals(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg")
    table = pa.table(
        {
            "image": ["1.jpg", "2.jpg"],
            "price": pa.array([Decimal("9.99"), None]),
            "product_id": pa.array([float("nan"), 7.0]),
            "crop": [[0.0, 0.0, 0.5, 0.5], None],
        }
    )
    pq.write_table(table, tmp_path / "manifest.parquet")
    rows = opened(tmp_path).rows
    assert [(row.price, row.product_id) for row in rows] == [("9.99", "1.jpg [0, 0, 0.5, 0.5]"), ("", "7")]
    assert [row.crop for row in rows] == [(0.0, 0.0, 0.5, 0.5), None]


def test_prices_lose_what_binary_numbers_add(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    prices = {
        "wide": pa.array([0.1 * 3, 26.991000000000003, 19.9]),
        "narrow": pa.array([0.3, 129.9, 19.9], pa.float32()),
    }
    for width, column in prices.items():
        pq.write_table(pa.table({"image": ["1.jpg", "2.jpg", "3.jpg"], "price": column}), tmp_path / f"{width}.parquet")
    assert [row.price for row in opened(tmp_path / "wide.parquet").rows] == ["0.3", "26.991", "19.9"]
    assert [row.price for row in opened(tmp_path / "narrow.parquet").rows] == ["0.3", "129.9", "19.9"]


@pytest.mark.parametrize(
    "image",
    [
        "../secret.jpg",
        "a/../../secret.jpg",
        "..",
        "/etc/passwd",
        "//etc/passwd",
        "file:///etc/passwd",
        "file:/etc/passwd",
        "http://169.254.169.254/latest",
        "HTTPS://example.org/1.jpg",
        "gs://other-bucket/1.jpg",
        "link/secret.jpg",
        "link.jpg",
    ],
)
def test_path_out_of_the_root_is_set_aside_unopened(tmp_path, image):
    touch(tmp_path, "secret.jpg", "outside/secret.jpg", "root/a/1.jpg")
    (tmp_path / "root/link").symlink_to(tmp_path / "outside")
    (tmp_path / "root/link.jpg").symlink_to(tmp_path / "secret.jpg")
    source = from_jsonl(tmp_path / "root", {"image": image, "category": "Hat"}, {"image": "a/1.jpg"})
    [letter] = source.dead
    assert (letter.reason, letter.uri, letter.category) == (Reason.OUTSIDE_ROOT, image, "Hat")
    assert "manifest.jsonl:1" in letter.detail
    assert ids(source) == ["a/1.jpg"]


def test_two_names_that_look_the_same_are_told_by_their_code_points(tmp_path):
    touch(tmp_path, normalize("NFD", "é.jpg"), "b.jpg")
    source = from_jsonl(tmp_path, {"image": "é.jpg"}, {"image": "B.JPG"})
    assert source.notes.examples == {
        "images were found by a name that is spelt in another way": [r"'\xe9.jpg' → 'e\u0301.jpg'", "B.JPG → b.jpg"]
    }


def test_path_that_comes_back_inside_is_one_id(tmp_path):
    touch(tmp_path, "a/1.jpg")
    assert ids(from_jsonl(tmp_path, {"image": "b/../a/./1.jpg"})) == ["a/1.jpg"]


@pytest.mark.parametrize("image", ["none.jpg", "a", ".", "x" * 5000, "\\\\server\\1.jpg", "~root/1.jpg"])
def test_path_to_no_file_is_missing(tmp_path, image):
    touch(tmp_path, "a/1.jpg")
    source = from_jsonl(tmp_path, {"image": image}, {"image": "a/1.jpg"})
    assert list(reasons(source).values()) == [Reason.MISSING_FILE]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"image": {"a": 1}}, "image must be text or a number, got an object"),
        ({"image": "a\0.jpg"}, "image must be Unicode text without NUL"),
        ({"image": "\ud800.jpg"}, "image must be Unicode text"),
        ({"domain": "street"}, "domain must be one of catalog, wild"),
        ({"split": "holdout"}, "split must be one of train, eval, test"),
        ({"crop": "0,0,1"}, "crop must be x,y,width,height"),
        ({"crop": "0,0,2,1"}, "crop must be x, y, width, height inside"),
        ({"crop": 5}, "crop must be"),
        ({"crop": [0, 0, 1, 10**400]}, "crop must be"),
        ({"sha256": "abc"}, "sha256 must be 64"),
        ({"category": "Hat\x00"}, "category must be Unicode text without NUL"),
        ({"category": "Hat\x1b"}, "a category must be printable"),
    ],
)
def test_bad_row_names_its_line_and_column(tmp_path, cells, words):
    touch(tmp_path, "1.jpg", "2.jpg")
    source = from_jsonl(tmp_path, {"image": "2.jpg"}, {"image": "1.jpg", **cells})
    [letter] = source.dead
    assert letter.reason is Reason.BAD_ROW
    assert letter.detail.startswith(f"manifest.jsonl:2: {words}")
    letter.to_json().encode()
    assert ids(source) == ["2.jpg"]


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ({"price": "on request"}, "price"),
        ({"price": "1,299"}, "price"),  # a thousand and some, or one and some: nothing else in the column says
        ({"price": "10-20"}, "price"),
        ({"price": -1}, "price"),
        ({"price": "1e999999"}, "price"),
        ({"title": "x" * 10_001}, "title"),
        ({"currency": {"a": 1}}, "currency"),
        ({"attr:colour": {"a": 1}}, "attr:colour"),
        ({"attr:\ud800": "x"}, "attr:\\ud800"),
    ],
)
def test_field_that_is_only_shown_never_costs_the_product(tmp_path, cells, column):
    touch(tmp_path, "1.jpg")
    source = from_jsonl(tmp_path, {"image": "1.jpg", "brand": "Häti", **cells})
    assert [(row.brand, row.price, row.title, row.attributes) for row in source.rows] == [("Häti", "", "", {})]
    assert source.dead == []
    assert told(source) == {f"{column} was left out where it could not be read": 1}


@pytest.mark.parametrize("image", ["", None, [], "nan", " "])
def test_row_without_a_picture_is_counted_and_is_no_fault(tmp_path, image):
    touch(tmp_path, "1.jpg")
    source = from_jsonl(tmp_path, {"image": "1.jpg"}, {"image": image, "category": "Hat"})
    assert reasons(source) == {"manifest.jsonl:2": Reason.NO_IMAGE}


def test_malformed_lines_are_set_aside_one_by_one(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "manifest.csv").write_bytes(b'\xef\xbb\xbfimage,title\n1.jpg,a\0\n2.jpg,"=1+1 \xc3\xa9"\n1.jpg,\xff\n')
    source = opened(tmp_path)
    assert [(row.image_id, row.title) for row in source.rows] == [("2.jpg", "=1+1 é")]
    assert reasons(source) == {"manifest.csv:2": Reason.BAD_ROW, "manifest.csv:4": Reason.BAD_ROW}


def test_manifest_with_no_usable_row_is_refused_with_the_first_cause(tmp_path):
    with pytest.raises(DataError, match=r"first of 1 unusable: manifest.jsonl:1: image must be a path"):
        from_jsonl(tmp_path, {"picture": "1.jpg"})


def test_a_source_that_is_refused_says_what_became_of_every_row_until_then(tmp_path):
    day, next_day = tmp_path / "span=2026-11-01", tmp_path / "span=2026-11-02"
    touch(day, "Hat/a.jpg")
    next_day.mkdir()
    from_jsonl_in(next_day, {"image": "https://shop.example/b.jpg", "category": "Hat"}, {"title": "no picture yet"})
    with pytest.raises(DataError, match=r"got none in .*span=2026-11-02") as refused:
        opened(tmp_path, window_spans=2)
    assert refused.value.account["read"] == 3
    assert refused.value.account["kept"]["images"] == 1
    assert refused.value.account["set_aside"] == {"OUTSIDE_ROOT": {"Hat": 1}, "NO_IMAGE": {"": 1}}


def test_manifest_without_image_column_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"column 'image', got picture; where another column .*ingest.columns=ITS NAME=image"
    ):
        from_csv(tmp_path, "picture\n1.jpg\n")


def test_two_manifests_in_a_folder_are_refused(tmp_path):
    touch(tmp_path, "manifest.csv", "manifest.jsonl")
    with pytest.raises(DataError, match=r"one table of images, got manifest.csv, manifest.jsonl"):
        opened(tmp_path)


def test_manifest_that_is_a_link_out_of_its_folder_is_refused(tmp_path):
    touch(tmp_path, "elsewhere.csv", "root/1.jpg")
    (tmp_path / "root/manifest.csv").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(DataError, match="inside its folder"):
        opened(tmp_path / "root")


def test_columns_that_nobody_reads_are_told(tmp_path):
    touch(tmp_path, "1.jpg")
    source = from_jsonl(tmp_path, {"image": "1.jpg", "colour": "red", "attr:": "x"})
    assert source.rows[0].attributes == {}
    assert told(source) == {"columns that nobody reads were passed over": 2}


def test_later_row_of_a_manifest_wins_and_its_categories_are_a_set(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg")
    source = from_csv(tmp_path, "image,category,title\n1.jpg,Hat,old\n1.jpg,Hat,new\n2.jpg,Hat,\n2.jpg,Coat,\n")
    assert [(row.image_id, row.categories, row.title) for row in source.rows] == [
        ("1.jpg", ("Hat",), "new"),
        ("2.jpg", ("Hat", "Coat"), ""),
    ]
    assert reasons(source) == {"1.jpg": Reason.DUPLICATE_ID, "2.jpg": Reason.DUPLICATE_ID}


def test_variants_that_share_a_picture_are_all_kept(tmp_path):
    touch(tmp_path, "shirt.jpg")
    source = from_csv(tmp_path, "image,product_id,category\nshirt.jpg,red-s,Shirt\nshirt.jpg,red-m,Shirt\n")
    assert [(row.image_id, row.product_id) for row in source.rows] == [("shirt.jpg", "red-m"), ("shirt.jpg", "red-s")]
    assert source.dead == []


@pytest.mark.parametrize(("variants", "products"), [("separate", ["red-m", "red-s"]), ("merge", ["shirt"])])
def test_variants_are_products_of_their_own_unless_a_setting_merges_them(tmp_path, variants, products):
    touch(tmp_path, "s.jpg", "m.jpg")
    rows = "image,product_id,Item Group ID\ns.jpg,red-s,shirt\nm.jpg,red-m,shirt\n"
    (tmp_path / "feed.csv").write_text(rows)
    source = opened(tmp_path / "feed.csv", variants=variants)
    assert sorted({row.product_id for row in source.rows}) == products


def test_a_shops_own_columns_and_separator_are_stated_by_settings(tmp_path):
    touch(tmp_path, "1.jpg")
    (tmp_path / "feed.csv").write_text("Bild,Kategorie,Farbe\n1.jpg,Shoes::Boots,red\n")
    columns = ("Bild=image", "Kategorie=category", "Farbe=attr:colour")
    [row] = opened(tmp_path / "feed.csv", columns=columns, category_separator="::").rows
    assert (row.image_id, row.category, row.attributes) == ("1.jpg", "Shoes > Boots", {"colour": "red"})
    with pytest.raises(DataError, match=r"one of ours, .* got Bild=photo in ingest\.columns"):
        opened(tmp_path / "feed.csv", columns=("Bild=photo",))


def test_two_boxes_in_one_photo_are_two_images(tmp_path):
    touch(tmp_path, "room.jpg")
    rows = from_jsonl(
        tmp_path,
        {"image": "room.jpg", "category": "Lamp", "crop": [0, 0, 0.5, 1]},
        {"image": "room.jpg", "category": "Sofa", "crop": [0.5, 0, 0.5, 1]},
    ).rows
    assert [(row.product_id, row.categories) for row in rows] == [
        ("room.jpg [0, 0, 0.5, 1]", ("Lamp",)),
        ("room.jpg [0.5, 0, 0.5, 1]", ("Sofa",)),
    ]


def test_facts_of_a_product_hold_for_all_its_images_and_the_newest_statement_counts(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    rows = from_jsonl(
        tmp_path,
        {"image": "1.jpg", "product_id": "p", "title": "Old", "brand": "B", "attr:fit": "slim", "category": "Hat"},
        {"image": "2.jpg", "product_id": "p", "title": "New", "attr:fit": "wide", "attr:hue": "red"},
        {"image": "3.jpg", "product_id": "q"},
    ).rows
    assert [(row.title, row.brand, row.category) for row in rows] == [("New", "B", "Hat")] * 2 + [("", "", "")]
    assert [row.attributes for row in rows] == [{"fit": "wide", "hue": "red"}] * 2 + [{}]


def test_categories_of_the_newest_day_that_states_any_replace_older_ones(tmp_path):
    for day, category in (("20", ["Hat", "Sale"]), ("21", ["Cap"]), ("22", [])):
        touch(tmp_path, f"span=2026-11-{day}/{day}.jpg")
        from_jsonl_in(
            tmp_path / f"span=2026-11-{day}", {"image": f"{day}.jpg", "product_id": "p", "category": category}
        )
    source = opened(tmp_path, window_spans=3)
    assert [row.categories for row in source.rows] == [("Cap",)] * 3
    assert told(source) == {"categories of earlier days gave way to those of the newest": 1}


def test_products_that_the_last_day_leaves_out_are_told(tmp_path):
    for day, names in (("20", "ab"), ("21", "b")):
        for name in names:
            touch(tmp_path, f"span=2026-11-{day}/{name}.jpg")
    assert told(opened(tmp_path, window_spans=2)) == {"products that the last day does not list stay as they were": 1}


def test_renamed_categories_take_what_lies_below_them_along(tmp_path):
    touch(tmp_path, "Clothes/Tops/Tee/1.jpg", "Clothes/2.jpg", "Shoes/3.jpg")
    renamed = {"Clothes": "Clothing", "Clothes > Tops": "Clothing > Shirts"}
    source = open_source(str(tmp_path), window_spans=1, renamed=renamed)
    assert [row.category for row in source.rows] == ["Clothing", "Clothing > Shirts > Tee", "Shoes"]


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.floats(), max_size=4)
)
COLUMN_NAMES = st.sampled_from(
    ["image", "category", "domain", "split", "title", "price", "crop", "sha256", "attr:a", "x"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.dictionaries(COLUMN_NAMES, CELLS), max_size=8))
def test_every_row_is_used_or_set_aside(tmp_path, rows):
    touch(tmp_path, "good.jpg")
    source = from_jsonl(tmp_path, {"image": "good.jpg"}, *rows)
    assert len(source.rows) + len(source.dead) >= len(rows) + 1


# Fingerprint


@pytest.fixture
def source(tmp_path):
    touch(tmp_path, "hat/1.jpg", "hat/2.jpg", "hat/3.jpg")
    return opened(tmp_path)


def test_fingerprint_does_not_depend_on_where_the_files_lie(tmp_path):
    touch(tmp_path, "a/hat/1.jpg", "b/hat/1.jpg")
    assert fingerprint(opened(tmp_path / "a")) == fingerprint(opened(tmp_path / "b"))


def test_fingerprint_changes_with_content_rows_and_dead_letters(tmp_path, source):
    prints = [fingerprint(source), fingerprint(replace(source, rows=source.rows[1:]))]
    touch(tmp_path, "hat/1.jpg", content=b"other")
    prints.append(fingerprint(source))
    prints.append(fingerprint(Source([replace(source.rows[0], title="x"), *source.rows[1:]], [], [], Notes())))
    (tmp_path / "hat/4.jpg").symlink_to("/etc/hostname")
    prints.append(fingerprint(opened(tmp_path)))
    assert len(set(prints)) == 5


def test_fingerprint_trusts_a_stated_digest_and_survives_a_vanished_file(tmp_path, source):
    stated = replace(source, rows=[replace(row, sha256="ab" * 32) for row in source.rows])
    before = fingerprint(stated)
    (tmp_path / "hat/1.jpg").unlink()
    assert fingerprint(stated) == before
    assert len(fingerprint(source)) == hashlib.sha256().digest_size * 2


# Real photos


def test_real_photos_are_all_read_and_none_is_rejected(clothing_photos):
    source = opened(clothing_photos / "train")
    assert (len(source.rows), source.dead) == (3068, [])
    assert len({row.category for row in source.rows}) == 10
    with GuardedDecoder() as decoder:
        images = [decoder.canonicalise(read_original(row.uri), longest_side_px=96) for row in source.rows[::15]]
    hashes = {image.perceptual_hash for image in images}
    assert len(hashes) > 195
