import functools
import hashlib
import io
import json
import random
import struct
import zlib
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components import image_example_gen
from components.tf_examples import read_images
from lookalike.catalog.account import Account, Kept
from lookalike.catalog.check import check_source
from lookalike.catalog.dead_letters import DataError, DeadLetter, Reason
from lookalike.catalog.guarded_decoder import Budget, GuardedDecoder
from lookalike.catalog.images import recipe
from lookalike.catalog.sources import kept_in
from lookalike.catalog.taxonomy import Taxonomy
from lookalike.configs.settings import IngestSettings
from lookalike.storage.address import open_folder

SHIRT, BOOT = "Clothing > Shirt", "Shoes > Boot"


def encode(image, image_format):
    encoded = io.BytesIO()
    image.save(encoded, image_format)
    return encoded.getvalue()


def with_spot(jpeg):
    image = Image.open(io.BytesIO(jpeg))
    image.putpixel((0, 0), (255, 255, 255))
    return encode(image, "PNG")


def png_bomb(width, height):
    """A PNG of a hundred bytes that says how large it is."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def write_source(directory, rows):
    """A manifest of (image, bytes or None, other columns); equal names are written once."""
    directory.mkdir(exist_ok=True)
    lines = []
    for image, content, columns in rows:
        if content is not None:
            (directory / image).write_bytes(content)
        lines.append(json.dumps({"image": image, "category": SHIRT} | columns))
    (directory / "manifest.jsonl").write_text("\n".join(lines))
    return directory


@pytest.fixture
def good_rows(draw):
    """24 images of 12 products, four of them in each split."""

    def rows(span=""):
        return [
            (f"p{product}-{view}{span}.jpg", draw(product, view), {"product_id": f"p{product}", "split": split})
            for product in range(12)
            for view in range(2)
            for split in [("train", "eval", "test")[product % 3]]
        ]

    return rows()


def images_by_split(ingested):
    splits = json.loads(ingested.examples.split_names)
    return {split: list(read_images(ingested.examples.path(split=split))) for split in splits}


def test_every_image_is_an_example_or_a_dead_letter_with_its_reason(tmp_path, draw, good_rows, ingest, dead_letters):
    truncated, tiff = draw(100)[:700], encode(Image.new("RGB", (32, 32), "red"), "TIFF")
    narrow, small = encode(Image.new("RGB", (16, 400)), "PNG"), encode(Image.new("RGB", (8, 8)), "PNG")
    swapped, contradiction = draw(101), draw(102)
    faults = [
        ("truncated.jpg", truncated, {}, Reason.TRUNCATED),
        ("page.jpg", b"<html>not found</html>", {}, Reason.NOT_IMAGE),
        ("page-again.jpg", b"<html>not found</html>", {}, Reason.NOT_IMAGE),
        ("empty.jpg", b"", {}, Reason.EMPTY),
        ("bomb.png", png_bomb(30_000, 30_000), {}, Reason.TOO_LARGE),
        ("small.png", small, {}, Reason.TOO_SMALL),
        ("narrow.png", narrow, {}, Reason.ASPECT),
        ("scan.tiff", tiff, {}, Reason.UNSUPPORTED_FORMAT),
        ("swapped.jpg", swapped, {"sha256": "ab" * 32}, Reason.CHECKSUM),
        ("shirt.jpg", contradiction, {"category": SHIRT}, Reason.CONFLICTING_LABEL),
        ("copy.jpg", draw(0, 0), {}, Reason.DUPLICATE_IMAGE),
        ("missing.jpg", None, {}, Reason.MISSING_FILE),
        ("../outside.jpg", None, {}, Reason.OUTSIDE_ROOT),
        ("http://169.254.169.254/x.jpg", None, {}, Reason.OUTSIDE_ROOT),
        ("cut.jpg", draw(103), {"crop": "all of it"}, Reason.BAD_ROW),
        ("draft.jpg", None, {"image": ""}, Reason.NO_IMAGE),
    ]
    (tmp_path / "outside.jpg").write_bytes(draw(104))
    good_rows = [*good_rows, ("boot.jpg", contradiction, {"category": BOOT})]  # one thing in two categories
    source = write_source(tmp_path / "source", good_rows + [fault[:3] for fault in faults])
    faults[-1] = (f"manifest.jsonl:{len(good_rows) + len(faults)}", *faults[-1][1:])

    ingested = ingest(source)

    dead = {letter.image_id: letter for letter in dead_letters()}
    assert {image_id: letter.reason for image_id, letter in dead.items()} == {row[0]: row[3] for row in faults}
    good = [image for images in images_by_split(ingested).values() for image in images]
    assert sorted(image.image_id for image in good) == sorted(row[0] for row in good_rows)
    assert len(good) + len(dead) == len(good_rows) + len(faults)

    [quarantine] = (tmp_path / "dead_letters").glob("*/quarantine")
    read = [row for row in faults[:10] if row[1] is not None]  # what follows was never opened, or is no fault
    for image_id, content, _, _ in read:
        assert dead[image_id].sha256 == hashlib.sha256(content).hexdigest()
        assert (quarantine / dead[image_id].sha256).read_bytes() == content
    assert len(list(quarantine.iterdir())) == len({row[1] for row in read})
    assert all(dead[image_id].detail for image_id in dead)
    assert all(letter.first_seen.endswith("+00:00") and len(letter.detail) <= 200 for letter in dead.values())


def test_every_image_is_in_one_account(tmp_path, draw, good_rows, ingest):
    rows = [
        ("boot.jpg", draw(90), {"category": BOOT, "split": "train"}),
        ("shirt.jpg", draw(90), {"category": SHIRT, "split": "train"}),
        ("price.jpg", draw(91), {"price": "on request", "split": "train"}),
        ("../outside.jpg", None, {}),
        ("draft.jpg", None, {"image": ""}),
    ]
    ingested = ingest(write_source(tmp_path / "source", [*good_rows, *rows]))
    account = Account.from_document(json.loads(ingested.examples.get_string_custom_property("account")))
    assert account.read == len(good_rows) + len(rows)
    assert account.kept == Kept(images=len(good_rows) + 2, products=14, categories=2)
    assert account.duplicates == {"CONFLICTING_LABEL": 1}
    assert account.set_aside == {"NO_IMAGE": {SHIRT: 1}, "OUTSIDE_ROOT": {SHIRT: 1}}
    assert account.examples["OUTSIDE_ROOT"] == ["../outside.jpg"]
    assert account.details == str(next((tmp_path / "dead_letters").glob("*/dead_letters.jsonl")))
    assert [note["note"] for note in account.notes] == ["price was left out where it could not be read"]
    [boot] = [image for image in images_by_split(ingested)["train"] if image.image_id == "boot.jpg"]
    assert (boot.categories, boot.label) == ((BOOT, SHIRT), "")


def test_pictures_that_rows_carry_become_examples_like_those_in_files(tmp_path, draw, good_rows, ingest, dead_letters):
    structs = [{"bytes": content, "path": name} for name, content, _ in good_rows]
    facts = {name: [row[2][name] for row in good_rows] for name in ("product_id", "split")}
    (tmp_path / "carried").mkdir()
    table = pa.table({"image": structs, "category": [SHIRT] * len(structs), **facts})
    pq.write_table(table, tmp_path / "carried" / "train.parquet")
    carried = images_by_split(ingest(tmp_path / "carried", "carried-out"))
    lying = images_by_split(ingest(write_source(tmp_path / "source", good_rows), "lying-out"))
    assert {split: [image.key for image in images] for split, images in carried.items()} == {
        split: [image.key for image in images] for split, images in lying.items()
    }
    assert not list((tmp_path / "carried-out").rglob("carried")), "what rows carry is kept for the run alone"


def test_a_placeholder_of_many_products_is_kept_from_training_and_ties_none(tmp_path, draw, good_rows, ingest):
    rows = [
        (f"soon{number}.jpg", draw(95), {"product_id": f"new{number}", "category": (SHIRT, BOOT)[number % 2]})
        for number in range(6)
    ]
    ingested = ingest(write_source(tmp_path / "source", [*good_rows, *rows]))
    images = images_by_split(ingested)
    assert sorted(image.product_id for image in images["untrained"]) == [f"new{number}" for number in range(6)]
    account = json.loads(ingested.examples.get_string_custom_property("account"))
    assert [(note["note"], note["count"]) for note in account["notes"]] == [
        ("pictures that many products share can be found, and are not learnt from", 6)
    ]


def test_check_says_what_ingest_does(tmp_path, draw, ingest):
    rng = random.Random(3)
    rows = [
        (
            f"{number}.jpg",
            draw(rng.randrange(30), rng.randrange(2)),  # of sixty pictures, so that many are shown twice
            {
                "product_id": rng.choice(["", f"p{rng.randrange(25)}"]),
                "category": rng.choice([SHIRT, BOOT, "Sale", ""]),
            },
        )
        for number in range(70)
    ]
    rows += [(f"soon{n}.jpg", draw(99), {"product_id": f"s{n}", "category": (SHIRT, BOOT)[n % 2]}) for n in range(6)]
    rows += [("gone.jpg", None, {}), ("page.jpg", b"<html>", {})]
    source = write_source(tmp_path / "source", rows)
    ingested = ingest(source)
    checked = check_source(str(source), IngestSettings(), kept_in(str(tmp_path / "carried")))
    document = json.loads(ingested.examples.get_string_custom_property("account"))
    assert checked.account.to_document() | {"details": ""} == document | {"details": ""}
    fates = {one.image.image_id: one.fate for one in checked.pictured}
    placed = {image.image_id: split for split, images in images_by_split(ingested).items() for image in images}
    assert placed == {name: fate for name, fate in fates.items() if fate.islower()}
    assert {"train", "eval", "test", "untrained"} == set(placed.values())


def test_every_category_of_two_products_is_tested_and_trained_on(tmp_path, draw, ingest):
    rows = [
        (f"{number}.jpg", draw(number), {"category": f"C{number // 2}", "product_id": f"p{number}"})
        for number in range(12)
    ]
    rows += [(f"eval{number}.jpg", draw(50 + number), {"category": "C0", "split": "eval"}) for number in range(2)]
    images = images_by_split(ingest(write_source(tmp_path / "source", rows)))
    for split in ("train", "test"):
        assert sorted(image.category for image in images[split]) == [f"C{number}" for number in range(6)]


def test_an_image_that_breaks_the_decoder_costs_that_image_alone(
    tmp_path, draw, good_rows, ingest, dead_letters, monkeypatch
):
    (tmp_path / "faulty_decoder.py").write_text(
        "import os, time\n"
        "from lookalike.catalog.images import canonicalise\n"
        "def decode(data, **options):\n"
        "    if data.endswith(b'crash'): os.abort()\n"
        "    if data.endswith(b'hang'): time.sleep(60)\n"
        "    if data.endswith(b'alloc'): bytearray(2 * 1024**3)\n"
        "    return canonicalise(data, **options)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    faulty = functools.partial(GuardedDecoder, decoder="faulty_decoder.decode", budget=Budget(wall_s=2.0))
    monkeypatch.setattr(image_example_gen, "GuardedDecoder", faulty)
    rows = [(f"{fault}.jpg", draw(200) + fault.encode(), {}) for fault in ("crash", "hang", "alloc")]
    ingested = ingest(write_source(tmp_path / "source", good_rows + rows))
    assert {letter.image_id: letter.reason for letter in dead_letters()} == {
        "crash.jpg": Reason.DECODER_CRASH,
        "hang.jpg": Reason.DECODER_TIMEOUT,
        "alloc.jpg": Reason.DECODER_MEMORY,
    }
    assert sum(map(len, images_by_split(ingested).values())) == len(good_rows)


def test_too_many_dead_letters_stop_the_run_and_stay_on_disk(tmp_path, good_rows, ingest, dead_letters):
    broken = [(f"broken-{number}.jpg", b"<html>", {}) for number in range(2)]
    source = write_source(tmp_path / "source", good_rows + broken)
    with pytest.raises(DataError, match=r"the source should lose at most 2\.0%, lost 2 of 26"):
        ingest(source, max_dead_ratio=0.02)
    assert not (tmp_path / "ingested" / "examples" / "work").exists()
    assert [letter.image_id for letter in dead_letters()] == ["broken-0.jpg", "broken-1.jpg"]
    assert list((tmp_path / "dead_letters").glob(f"*/quarantine/{dead_letters()[0].sha256}"))


def test_too_many_dead_letters_of_one_category_stop_the_run(tmp_path, good_rows, ingest):
    broken = [(f"broken-{number}.jpg", b"<html>", {"category": BOOT}) for number in range(2)]
    with pytest.raises(DataError, match=r"category 'Shoes > Boot' should lose at most 5\.0%, lost 2 of 2"):
        ingest(write_source(tmp_path / "source", good_rows + broken), max_category_dead_ratio=0.05)


def test_a_single_broken_image_does_not_stop_a_small_shop(tmp_path, good_rows, ingest, dead_letters):
    source = write_source(tmp_path / "source", [*good_rows, ("broken.jpg", b"<html>", {})])
    ingest(source, max_dead_ratio=0.02, max_category_dead_ratio=0.05)
    assert [letter.image_id for letter in dead_letters()] == ["broken.jpg"]


def test_dead_letter_seen_again_keeps_the_day_it_was_first_seen(tmp_path, good_rows, ingest, dead_letters):
    rows = [("broken.jpg", b"<html>", {}), ("new.jpg", b"<html> new", {})]
    source = write_source(tmp_path / "source", [*good_rows, *rows])
    ingest(source, "first")
    seen, new = dead_letters()
    long_ago = DeadLetter(**{**vars(seen), "first_seen": "2026-01-02T03:04:05+00:00"})
    no_more = DeadLetter(**{**vars(seen), "image_id": "mended.jpg"})
    [path] = (tmp_path / "dead_letters").glob("*/dead_letters.jsonl")
    path.write_text(f"{long_ago.to_json()}\n{no_more.to_json()}\n")
    ingest(source, "second")
    assert {letter.image_id: letter.first_seen for letter in dead_letters()} == {
        "broken.jpg": "2026-01-02T03:04:05+00:00",
        "new.jpg": dead_letters()[1].first_seen,
    }
    assert dead_letters()[1].first_seen >= new.first_seen


def test_split_never_divides_a_product_or_its_near_duplicates(tmp_path, draw, ingest):
    rows = [
        (f"p{product}-{view}.jpg", draw(product, view), {"product_id": f"p{product}"})
        for product in range(40)
        for view in range(2)
    ]
    # The same picture but for a spot, under another product: known by nothing but how it looks.
    rows += [(f"q{product}.png", with_spot(draw(product)), {"product_id": f"q{product}"}) for product in range(40)]
    ingested = ingest(write_source(tmp_path / "source", rows), eval_fraction=0.3, test_fraction=0.3)
    splits = defaultdict(set)
    for split, images in images_by_split(ingested).items():
        for image in images:
            splits[image.product_id.lstrip("pq")].add(split)
    assert len(splits) == 40
    assert {len(found) for found in splits.values()} == {1}
    assert set.union(*splits.values()) == {"train", "eval", "test"}


def test_rerun_writes_the_same_bytes(tmp_path, good_rows, ingest):
    source = write_source(tmp_path / "source", good_rows)
    first, second = ingest(source, "first"), ingest(source, "second")
    files = [sorted((tmp_path / name).rglob("*.*")) for name in ("first", "second")]
    assert [path.relative_to(tmp_path / "first") for path in files[0]] == [
        path.relative_to(tmp_path / "second") for path in files[1]
    ]
    assert [path.name for path in files[0]] == ["images-00000-of-00001.tfrecord"] * 3 + ["taxonomy.json"]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    assert first.examples.split_names == second.examples.split_names == '["eval", "test", "train"]'


def test_labels_are_categories_that_have_images_inner_ones_too(tmp_path, draw, good_rows, ingest):
    rows = [("inner.jpg", draw(50), {"category": "Clothing"}), ("none.jpg", draw(51), {"category": ""})]
    rows.append(("boot.jpg", draw(52), {"category": BOOT}))
    ingested = ingest(write_source(tmp_path / "source", good_rows + rows))
    tree = Taxonomy.from_json((tmp_path / "ingested" / "taxonomy" / "taxonomy.json").read_text())
    assert tree.categories == ("Clothing", SHIRT, BOOT)
    found = {image.image_id: image for images in images_by_split(ingested).values() for image in images}
    assert (found["inner.jpg"].category, found["inner.jpg"].label) == ("Clothing", "Clothing")
    assert (found["none.jpg"].category, found["none.jpg"].label) == ("", "")
    assert (found["boot.jpg"].category, found["boot.jpg"].label) == (BOOT, BOOT)


def test_categories_that_people_cannot_tell_apart_are_bad_data(tmp_path, draw, good_rows, ingest):
    rows = [*good_rows, ("odd.jpg", draw(60), {"category": "Clothing > shirt"})]
    with pytest.raises(DataError, match="Clothing > shirt"):
        ingest(write_source(tmp_path / "source", rows))


def test_picture_of_nothing_is_kept_from_training(tmp_path, good_rows, ingest):
    grey = encode(Image.new("RGB", (48, 48), (128, 128, 128)), "PNG")
    ingested = ingest(write_source(tmp_path / "source", [*good_rows, ("grey.png", grey, {"split": "train"})]))
    images = images_by_split(ingested)
    assert [image.image_id for image in images.pop("untrained")] == ["grey.png"]
    assert "grey.png" not in [image.image_id for found in images.values() for image in found]


def test_class_folders_of_two_days_become_examples_with_span_and_category(tmp_path, draw, ingest, dead_letters):
    for day, products in (("2026-11-19", range(30)), ("2026-11-20", range(29, 40))):
        folder = tmp_path / "source" / f"span={day}" / "Clothing" / "Shirt"
        folder.mkdir(parents=True)
        for product in products:
            (folder / f"{product}.jpg").write_bytes(draw(product))
    ingested = ingest(tmp_path / "source", eval_fraction=0.3, test_fraction=0.3)
    found = {image.image_id: image for images in images_by_split(ingested).values() for image in images}
    assert len(found) == 40
    assert {image.category for image in found.values()} == {SHIRT}
    assert found["Clothing/Shirt/0.jpg"].span == "2026-11-19"
    assert found["Clothing/Shirt/29.jpg"].span == "2026-11-20"
    assert [(letter.image_id, letter.span, letter.reason) for letter in dead_letters()] == [
        ("Clothing/Shirt/29.jpg", "2026-11-19", Reason.DUPLICATE_ID)
    ]
    assert ingested.examples.get_string_custom_property("spans") == "2026-11-19,2026-11-20"


def test_variants_that_share_one_file_are_examples_of_each_product(tmp_path, draw, good_rows, ingest, dead_letters):
    shared = draw(70)
    variants = [("shirt.jpg", shared, {"product_id": f"shirt-{size}", "split": "train"}) for size in "SML"]
    ingested = ingest(write_source(tmp_path / "source", good_rows + variants))
    found = [
        image for images in images_by_split(ingested).values() for image in images if image.image_id == "shirt.jpg"
    ]
    assert sorted(image.product_id for image in found) == ["shirt-L", "shirt-M", "shirt-S"]
    assert len({image.key for image in found}) == 3
    assert dead_letters() == []


def test_an_example_knows_its_original_its_picture_and_how_the_picture_was_made(tmp_path, draw, good_rows, ingest):
    ingested = ingest(write_source(tmp_path / "source", good_rows), longest_side_px=32)
    image = images_by_split(ingested)["train"][0]
    assert image.sha256 == hashlib.sha256(draw(0, 0)).hexdigest()
    assert image.canonical_sha256 == hashlib.sha256(image.jpeg).hexdigest()
    assert image.canonical_recipe == recipe(32) != recipe(64)
    assert image.seen_in == ""


def test_shop_facts_come_through_ingest_whole(tmp_path, draw, good_rows, ingest):
    facts = {"brand": "Häti", "url": "https://shop.example/1", "price": "16777217.10", "currency": "eur"}
    facts |= {"availability": "In stock", "category": [BOOT, "Sale"], "product_id": "boot"}
    ingested = ingest(write_source(tmp_path / "source", [*good_rows, ("boot.jpg", draw(71), facts)]))
    [boot] = [i for images in images_by_split(ingested).values() for i in images if i.product_id == "boot"]
    assert (boot.brand, boot.url, boot.price) == ("Häti", "https://shop.example/1", "16777217.10")
    assert (boot.currency, boot.availability, boot.categories) == ("EUR", "in_stock", (BOOT, "Sale"))
    tree = Taxonomy.from_json((tmp_path / "ingested" / "taxonomy" / "taxonomy.json").read_text())
    assert tree.categories == (SHIRT, BOOT), "the further category is no class"


def test_a_damaged_file_of_dead_letters_is_named_with_the_way_out(tmp_path, good_rows, ingest):
    source = write_source(tmp_path / "source", good_rows)
    ingest(source, "first")
    [letters] = (tmp_path / "dead_letters").glob("*/dead_letters.jsonl")
    letters.write_text("{")
    with pytest.raises(DataError, match=r"dead_letters\.jsonl must hold what an earlier run set aside, .* delete it"):
        ingest(source, "second")


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path, draw, good_rows, ingest, monkeypatch):
    source = write_source(tmp_path / "source", good_rows)
    real = image_example_gen.read_original

    def change_and_read(uri, **options):
        (source / "p0-0.jpg").write_bytes(draw(90))
        return real(uri, **options)

    monkeypatch.setattr(image_example_gen, "read_original", change_and_read)
    with pytest.raises(DataError, match=r"must stay as it is while it is read, .*source has changed: run again"):
        ingest(source)


def test_near_duplicates_are_tied_across_any_chain(tmp_path, draw, ingest):
    rows = [(f"p{product}.jpg", draw(product), {"product_id": f"p{product}"}) for product in range(30)]
    # a and b share a file, b and c nearly a picture, c and d a file again: all go where the stated split says.
    rows += [("ab.jpg", draw(50), {"product_id": product}) for product in ("a", "b")]
    rows += [("b.jpg", draw(51), {"product_id": "b"}), ("c.png", with_spot(draw(51)), {"product_id": "c"})]
    rows += [("cd.jpg", draw(52), {"product_id": product}) for product in ("c", "d")]
    rows += [("d.jpg", draw(53), {"product_id": "d", "split": "test"})]
    ingested = ingest(write_source(tmp_path / "source", rows), eval_fraction=0.3, test_fraction=0.3)
    splits = {image.product_id: split for split, images in images_by_split(ingested).items() for image in images}
    assert {splits[product] for product in "abcd"} == {"test"}


def test_nothing_is_left_beside_the_examples(tmp_path, good_rows, ingest):
    ingested = ingest(write_source(tmp_path / "source", good_rows))
    children = sorted(path.name for path in Path(ingested.examples.uri).iterdir())
    assert children == ["Split-eval", "Split-test", "Split-train"]


def test_what_a_worker_refuses_is_told_in_its_own_words(tmp_path, good_rows, ingest, monkeypatch):
    source = write_source(tmp_path / "source", good_rows)

    def gone(*_):
        raise DataError("the manifest is gone")
        yield

    monkeypatch.setattr(image_example_gen, "read_part", gone)
    with pytest.raises(DataError, match=r"^the manifest is gone$"):
        ingest(source)


def test_an_object_store_may_hold_the_source_and_all_that_comes_out(tmp_path, draw, good_rows, ingest, s3_address):
    source = write_source(tmp_path / "source", [*good_rows, ("broken.jpg", b"<html>", {})])
    for path in source.iterdir():
        with open_folder(f"{s3_address}/source").writing(path.name) as copy:
            copy.write_bytes(path.read_bytes())
    remote = ingest(f"{s3_address}/source", at=f"{s3_address}/out")
    local = ingest(source)
    assert images_by_split(remote) == images_by_split(local)
    out = open_folder(f"{s3_address}/out")
    names = [file.name for file in out.files()]
    assert [name for name in names if not name.startswith("dead_letters/")] == [
        *(f"examples/Split-{split}/images-00000-of-00001.tfrecord" for split in ("eval", "test", "train")),
        "taxonomy/taxonomy.json",
    ]
    [letters, quarantined] = [name for name in names if name.startswith("dead_letters/")]
    assert DeadLetter.from_json(out.read(letters).decode()).image_id == "broken.jpg"
    assert out.read(quarantined) == b"<html>"
