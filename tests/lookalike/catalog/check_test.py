"""What shops really send, drawn: each kind through `check_source`, as `lookalike check` and ingest see it."""

import csv
import io
import json
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw

from lookalike.catalog.check import check_source
from lookalike.catalog.dead_letters import DataError, Reason
from lookalike.catalog.readiness import State
from lookalike.catalog.sources import kept_in
from lookalike.configs.settings import IngestSettings

CATEGORIES = ("Shoes > Boots", "Shoes > Sandals", "Bags > Totes")
NUM_PRODUCTS, NUM_VIEWS = 6, 2  # of each category


def noise(seed, size=64):
    """A picture like no other."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def jpeg(image, quality=92):
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()


def products():
    """File name, category, product and picture of a small shop."""
    for number in range(len(CATEGORIES) * NUM_PRODUCTS):
        for view in range(NUM_VIEWS):
            category = CATEGORIES[number % len(CATEGORIES)]
            yield f"{number}_{view}.jpg", category, f"P{number}", jpeg(noise(10 * number + view))


def table(folder, *, change=lambda row: row, name="manifest.csv", encoding="utf-8", rows=None, **dialect):
    """Pictures, and a table of them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for file, category, product, content in products():
        (folder / file).write_bytes(content)
        lines.append(
            change({"image": file, "category": category, "product_id": product, "title": "Größe", "price": "19.99"})
        )
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(lines[0]), **dialect)
    writer.writeheader()
    writer.writerows([*lines, *(rows or [])])
    (folder / name).write_bytes(text.getvalue().encode(encoding))
    return folder


def class_folders(folder, name=lambda file: file, top=lambda product: ""):
    for file, category, product, content in products():
        path = folder / top(product) / category.replace(" > ", "/") / name(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def check(tmp_path):
    def run(source, **settings):
        return check_source(str(source), IngestSettings(**settings), kept_in(str(tmp_path / "carried")))

    return run


NUM_IMAGES = len(CATEGORIES) * NUM_PRODUCTS * NUM_VIEWS


def found(checked):
    """What makes two catalogues the same."""
    return checked.account.read, checked.account.kept, sorted(checked.readiness.classes)


def notes(checked):
    return {note["note"]: note["count"] for note in checked.account.notes}


def test_a_shop_that_lacks_nothing_is_ready_and_one_line(tmp_path, check):
    checked = check(table(tmp_path / "shop"))
    account = checked.account
    assert (account.read, account.kept.images, account.kept.products) == (NUM_IMAGES, NUM_IMAGES, 18)
    assert account.details_in_lines() == []
    assert len(account.in_a_line()) <= 100
    assert checked.is_ready
    assert all(split["test"] and split["train"] for split in checked.readiness.classes.values())


@pytest.mark.parametrize(
    ("change", "options", "assumed"),
    [
        ({}, {"delimiter": ";", "encoding": "cp1252", "lineterminator": "\r\n"}, "semicolons, Windows-1252"),
        ({}, {"delimiter": "\t", "encoding": "utf-16"}, "tabs, UTF-16"),
        ({"category": lambda text: text.replace(" > ", "/")}, {}, "levels of categories parted by '/'"),
        ({"category": lambda text: text.replace(" > ", " | ")}, {}, "levels of categories parted by '|'"),
        ({"category": lambda text: text.replace(" > ", " &gt; ")}, {}, ""),
        ({"price": lambda _: "1.299,00 €"}, {}, "decimal comma"),
    ],
)
def test_however_a_table_is_written_it_is_the_same_catalogue(tmp_path, check, change, options, assumed):
    def changed(row):
        return row | {name: how(row[name]) for name, how in change.items()}

    written = check(table(tmp_path / "written", change=changed, **options))
    assert found(written) == found(check(table(tmp_path / "plain")))
    assert [assumed in note["note"] for note in written.account.notes] == ([True] if assumed else [])


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: "img\\" + name,
        lambda name: "img/" + name.upper(),
        lambda name: "img/" + name.replace("_", "%5F"),
        lambda name: unicodedata.normalize("NFC", f"img/{name}"),
        lambda name: f"img/{name}?v=1699",
    ],
)
def test_however_paths_are_spelt_they_are_found(tmp_path, check, rename):
    table(tmp_path / "shop/img", name="unused.csv")
    table(tmp_path / "shop", change=lambda row: row | {"image": rename(row["image"])}, name="products.csv")
    for file in (tmp_path / "shop").glob("*.jpg"):
        file.unlink()
    checked = check(tmp_path / "shop")
    assert (checked.account.read, checked.account.kept.images) == (NUM_IMAGES, NUM_IMAGES)


def test_feed_beside_the_pictures_is_used_and_told_whatever_it_is_called(tmp_path, check):
    checked = check(table(tmp_path / "shop", name="PRODUCTS_Export.CSV"))
    assert notes(checked) == {"the images are those that a table beside them lists": 1}
    assert checked.account.kept.products == 18


def test_words_for_nothing_empty_rows_and_drafts_are_no_categories_and_no_losses(tmp_path, check):
    drafts = [{"title": "to come", "category": CATEGORIES[0]}] * 9
    empty = [{}] * 30
    checked = check(
        table(tmp_path / "shop", rows=[*drafts, *empty], change=lambda row: row | {"price": "N/A", "title": "nan"})
    )
    assert checked.account.set_aside == {"NO_IMAGE": {CATEGORIES[0]: 9}}
    assert checked.is_ready


def test_variants_of_one_picture_and_products_of_two_categories_all_stay(tmp_path, check):
    def large(row):
        return row | {"product_id": f"{row['image']}-L"}

    variants = [
        {"image": file, "category": category, "product_id": f"{file}-{size}"}
        for file, category, _, _ in products()
        for size in "SM"
    ]
    checked = check(table(tmp_path / "variants", change=large, rows=variants))
    assert (checked.account.kept.products, checked.letters) == (3 * NUM_IMAGES, [])
    sale = [{"image": f"{n}_0.jpg", "category": "Sale > Winter", "product_id": f"P{n}"} for n in range(10)]
    checked = check(table(tmp_path / "sale", rows=sale))
    assert checked.account.duplicates == {"DUPLICATE_ID": 10}
    assert checked.is_ready


def test_placeholders_and_size_charts_leave_every_split_filled(tmp_path, check):
    coming_soon = jpeg(noise(9999))
    chart = Image.new("RGB", (300, 200), "white")
    for row, y in enumerate(range(20, 190, 24)):
        ImageDraw.Draw(chart).line((20, y, 280, y), fill=(90, 90, 90))
        ImageDraw.Draw(chart).text((26, y + 5), f"EU {36 + row}   UK {3 + row}   {22 + row} cm", fill=(40, 40, 40))
    shop = tmp_path / "shop"
    new = []
    for number in range(9):
        new.append({"image": f"new{number}.jpg", "category": CATEGORIES[number % 3], "product_id": f"N{number}"})
        new.append({"image": f"chart{number}.jpg", "category": CATEGORIES[number % 3], "product_id": f"P{number}"})
    table(shop, rows=new)
    for number in range(9):
        (shop / f"new{number}.jpg").write_bytes(coming_soon)
        (shop / f"chart{number}.jpg").write_bytes(jpeg(chart, quality=80 + 5 * (number % 3)))
    checked = check(shop)
    assert checked.account.kept.images == NUM_IMAGES + 18
    assert notes(checked) == {"pictures that many products share can be found, and are not learnt from": 18}
    assert checked.is_ready
    assert all(split["test"] and split["train"] for split in checked.readiness.classes.values())


def test_white_goods_on_transparency_stay_apart(tmp_path, check):
    shop = table(tmp_path / "shop", rows=[{"image": f"w{n}.png", "category": CATEGORIES[n]} for n in range(3)])
    for number, draw in enumerate(("ellipse", "rectangle", "rounded_rectangle")):
        cut_out = Image.new("RGBA", (96, 96), (255, 255, 255, 0))
        getattr(ImageDraw.Draw(cut_out), draw)((20, 20 + 8 * number, 76, 76), fill=(255,) * 4)
        cut_out.save(shop / f"w{number}.png")
    checked = check(shop)
    assert (checked.account.kept.images, checked.letters) == (NUM_IMAGES + 3, [])
    assert "untrained" not in checked.readiness.products


def test_one_picture_in_several_class_folders_is_found_under_each_and_teaches_none(tmp_path, check):
    shop = class_folders(tmp_path / "shop")
    (shop / "Bags/Totes/again.jpg").write_bytes((shop / "Shoes/Boots/0_0.jpg").read_bytes())
    checked = check(shop)
    assert checked.account.duplicates == {"CONFLICTING_LABEL": 1}
    assert any("1 images are shown in several categories" in warning for warning in checked.readiness.warnings)


def test_class_folders_as_people_keep_them(tmp_path, check):
    shop = class_folders(tmp_path / "shop", name=lambda file: file.removesuffix(".jpg") if file[0] == "1" else file)
    for extra in (
        "@eaDir/x.jpg",
        "__MACOSX/y.jpg",
        "Shoes/Boots/.thumbnails/z.jpg",
        "Shoes/Boots/Thumbs.db",
        "read.me",
    ):
        (shop / extra).parent.mkdir(exist_ok=True)
        (shop / extra).write_bytes(b"x")
    (shop / "Shoes/Boots/old").mkdir()
    (shop / "Shoes/Boots/old/x.jpg").write_bytes(jpeg(noise(4711)))
    checked = check(shop)
    assert checked.account.kept.images == NUM_IMAGES + 1
    assert sorted(checked.readiness.classes) == [
        "Bags > Totes",
        "Shoes > Boots",
        "Shoes > Boots > old",
        "Shoes > Sandals",
    ]
    assert checked.readiness.classes["Shoes > Boots"]["train"] > 1
    assert notes(checked) == {
        "files that are no images were passed over": 1,
        "hidden folders and those of systems were passed over": 3,
        "images without the extension of one were known by their content": 18,
    }


def test_splits_at_the_top_are_splits_and_days_without_span_are_asked_about(tmp_path, check):
    splits = ("train", "train", "Val", "test")
    shop = class_folders(tmp_path / "split", top=lambda product: splits[int(product[1:]) // 3 % 4])
    checked = check(shop)
    assert sorted(checked.readiness.classes) == sorted(CATEGORIES)
    assert checked.readiness.products == {"train": 24, "eval": 6, "test": 6}
    class_folders(tmp_path / "days", top=lambda product: f"2026-11-{10 + int(product[1:]) % 2}")
    with pytest.raises(DataError, match=r"rename 2026-11-10 in .* to span=2026-11-10"):
        check(tmp_path / "days")


def test_a_few_losses_are_told_with_where_and_why_and_many_stop_the_run(tmp_path, check):
    shop = table(tmp_path / "shop", rows=[{"image": "0_O.jpg", "category": CATEGORIES[0]}])
    checked = check(shop)
    assert checked.account.set_aside == {"MISSING_FILE": {CATEGORIES[0]: 1}}
    [letter] = checked.letters
    assert letter.reason is Reason.MISSING_FILE
    assert letter.detail.startswith(
        "manifest.csv:38: image must be a file that can be reached, got 0_O.jpg; did it mean "
    )
    assert checked.is_ready
    for name in ("1_0.jpg", "2_0.jpg"):
        (shop / name).write_bytes(b"<html>")
    refused = check(shop)
    assert "the source should lose at most 2.0%, lost 3 of 37" in refused.refusal
    assert not refused.is_ready


def test_what_was_not_opened_in_time_is_known_by_its_first_bytes(tmp_path):
    shop = table(tmp_path / "shop")
    (shop / "0_0.jpg").write_bytes(b"<html>")
    checked = check_source(str(shop), IngestSettings(), kept_in(str(tmp_path)), sample_s=0.0)
    assert checked.num_opened == 0
    assert checked.account.set_aside == {"NOT_IMAGE": {CATEGORIES[0]: 1}}


def test_too_few_to_learn_from_are_told_before_anything_is_trained(tmp_path, check):
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(noise(number)))
    checked = check(tmp_path)
    assert checked.readiness.state is State.STOP
    assert "state categories (class folders, or the column category) or product_id" in checked.readiness.stops[0]


def test_five_layouts_of_real_photos_are_one_catalogue(clothing_photos, tmp_path, check):
    photos = sorted((clothing_photos / "test").rglob("*.jpg"))[::6]
    rows = [{"image": str(path.relative_to(clothing_photos / "test")), "category": path.parent.name} for path in photos]
    for path, row in zip(photos, rows, strict=True):
        for layout in ("folders", "splits/test", "cp1252", "array"):
            copy = tmp_path / layout / row["image"]
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (tmp_path / "splits/train").mkdir()
    semicolons = ["Bild;Kategorie;Größe", *(f"{row['image']};{row['category']};M" for row in rows)]
    (tmp_path / "cp1252/feed.csv").write_bytes("\r\n".join(semicolons).encode("cp1252"))
    (tmp_path / "array/products.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "structs").mkdir()
    structs = [{"bytes": path.read_bytes(), "path": row["image"]} for path, row in zip(photos, rows, strict=True)]
    table_of_structs = pa.table({"image": structs, "category": [row["category"] for row in rows]})
    pq.write_table(table_of_structs, tmp_path / "structs/train.parquet")

    columns = ("Bild=image", "Kategorie=category")
    layouts = {
        name: check(tmp_path / name, **({"columns": columns} if name == "cp1252" else {}))
        for name in ("folders", "splits", "cp1252", "array", "structs")
    }
    [(read, kept, classes)] = {
        (checked.account.read, checked.account.kept, tuple(sorted(checked.readiness.classes)))
        for checked in layouts.values()
    }
    assert (read, kept.images, len(classes)) == (62, 62, 10)
    digests = [sorted(one.image.canonical_sha256 for one in checked.pictured) for checked in layouts.values()]
    assert digests == [digests[0]] * 5
