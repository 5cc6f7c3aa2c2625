import dataclasses
import importlib
import re
import subprocess
import sys

import pydantic
import pytest

from lookalike.configs import Settings, load_settings, setting_names
from lookalike.configs.settings import (
    EvaluationSettings,
    IngestSettings,
    ReviewSettings,
    SettingsError,
    TrainingSettings,
    merge,
    override,
    promotion_settings,
)


def test_settings_are_found_by_their_files() -> None:
    assert setting_names() == ["demo", "folder", "production"]


@pytest.mark.parametrize("name", setting_names())
def test_every_setting_loads_as_its_file_states_it(name: str) -> None:
    assert load_settings(name) == importlib.import_module(f"lookalike.configs.{name}").SETTINGS


def test_loading_settings_imports_nothing_heavy() -> None:
    program = "import sys; from lookalike import configs; configs.load_settings('demo'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"tensorflow", "tfx", "apache_beam", "numpy"} & set(loaded)


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="config must be one of demo, folder, production, got 'prod'"):
        load_settings("prod")


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("training.epochs=3", "training", "epochs", 3),
        ("training.learning_rate=1e-4", "training", "learning_rate", 0.0001),
        ("training.bfloat16=false", "training", "bfloat16", False),
        ("model.depth=34", "model", "depth", 34),
        ("index.quantization=int8", "index", "quantization", "int8"),
        (
            "review.database_url=postgresql+psycopg://u@h/d?a=b",
            "review",
            "database_url",
            "postgresql+psycopg://u@h/d?a=b",
        ),
        (" ingest.seed = 9 ", "ingest", "seed", 9),
        ("schema.warn_only=title, price", "schema", "warn_only", ("title", "price")),
        ("schema.warn_only=", "schema", "warn_only", ()),
    ],
)
def test_an_override_is_read_as_its_setting_is_typed(override: str, section: str, key: str, value: object) -> None:
    changed = getattr(getattr(load_settings("demo", [override]), section), key)
    assert changed == value
    assert type(changed) is type(value)


def test_an_override_changes_nothing_but_its_key() -> None:
    changed = load_settings("folder", ["training.epochs=3", "model.width=16"])
    before = load_settings("folder")
    assert changed.training == dataclasses.replace(before.training, epochs=3)
    assert changed.model == dataclasses.replace(before.model, width=16)
    assert dataclasses.replace(changed, training=before.training, model=before.model) == before


def test_the_last_of_two_overrides_wins() -> None:
    assert load_settings("demo", ["training.epochs=3", "training.epochs=4"]).training.epochs == 4


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("epochs=3", "an override must look like section.key=value, got 'epochs=3'"),
        ("training.epochs", "an override must look like section.key=value"),
        ("trainer.epochs=3", "section must be one of ingest, schema, model, .*, got 'trainer'"),
        ("training.epoch=3", "training has the keys epochs, batch_size, .*, got 'epoch'"),
        ("training.epochs=0", "training.epochs must be greater than 0, got 0"),
        ("training.epochs=many", "training.epochs must be a whole number, got 'many'"),
        ("training.epochs=1.5", "training.epochs must be a whole number, got '1.5'"),
        (f"training.epochs={'9' * 5000}", "training.epochs must be a shorter whole number, got '999"),
        ("training.epochs=", "training.epochs must be a whole number, got ''"),
        ("training.bfloat16=perhaps", "training.bfloat16 must be true or false, got 'perhaps'"),
        ("training.learning_rate=nan", "training.learning_rate must be a finite number, got 'nan'"),
        ("training.learning_rate=inf", "training.learning_rate must be a finite number, got 'inf'"),
        ("training.learning_rate=fast", "training.learning_rate must be a number, got 'fast'"),
        ("training.batch_size=33", "training.batch_size must be a multiple of 2, got 33"),
        ("training.seed=-1", "training.seed must be at least 0, got '-1'"),
        ("model.depth=50", "model.depth must be one of 10, 18 or 34, got 50"),
        ("model.image_size_px=16", "model.image_size_px must be at least 32, got 16"),
        ("index.quantization=int4", "index.quantization must be one of none, bfloat16 or int8, got 'int4'"),
        ("ingest.eval_fraction=0.5", "ingest.eval_fraction must be less than 0.5, got '0.5'"),
        (
            "evaluation.min_accuracy=1.1",
            "evaluation.min_accuracy must be at most 1.0, got '1.1'",
        ),
        (
            "review.non_inferiority_margin=1",
            "review.non_inferiority_margin must be less than 1.0, got '1'",
        ),
        ("review.expiry_days=1000001", "review.expiry_days must be at most 1000000, got 1000001"),
        ("review.votes_per_task=2147483648", "review.votes_per_task must be less than 2147483648, got 2147483648"),
        ("review.min_judged_queries=61", "review: min_judged_queries must be at most num_queries 60, got 61"),
    ],
)
def test_an_override_that_cannot_be_is_told_what_was_expected(override: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        load_settings("demo", [override])


@dataclasses.dataclass(frozen=True)
class Lens:
    width_mm: int = 50
    filters: tuple[str, ...] = ("uv",)


@dataclasses.dataclass(frozen=True)
class Camera:
    lens: Lens = Lens()
    iso: int = 100


@dataclasses.dataclass(frozen=True)
class Studio:
    camera: Camera = Camera()


def test_an_override_reaches_a_section_within_a_section() -> None:
    changed = override(Studio(), ["camera.lens.width_mm=85", "camera.lens.filters=red, polariser", "camera.iso=400"])
    assert changed == Studio(Camera(Lens(85, ("red", "polariser")), 400))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("camera.lens.width=85", r"camera\.lens has the keys width_mm, filters, got 'width'"),
        ("camera.lenses.width_mm=85", r"camera has the keys lens, iso, got 'lenses'"),
        ("camera.iso.value=85", r"camera\.iso is one value and has no keys, got 'value'"),
        ("camera.lens=85", r"camera\.lens is a section of the keys width_mm, filters, got a value for all of it"),
        ("camera.lens.width_mm=wide", "camera.lens.width_mm must be a whole number, got 'wide'"),
    ],
)
def test_an_override_that_leads_nowhere_is_told_where_it_left_the_path(wrong: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        override(Studio(), [wrong])


def test_a_document_changes_the_keys_that_it_holds() -> None:
    assert merge(Studio(), {"camera": {"lens": {"width_mm": 85}}}) == Studio(Camera(Lens(85)))
    with pytest.raises(SettingsError, match=r"camera has the keys lens, iso, got 'shutter'"):
        merge(Studio(), {"camera": {"shutter": 1}})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"index": 5}, "index must be a section of keys and values, got 5"),
        ({"index": None}, "index must be a section of keys and values, got nothing"),
        ({"training": {"epochs": None}}, "training.epochs must be a whole number, got nothing"),
        ({"training": {"epochs": 1.5}}, "training.epochs must be a whole number, got 1.5"),
        ({"training": {"bfloat16": []}}, "training.bfloat16 must be true or false, got a list"),
        ({"schema": {"warn_only": True}}, "schema.warn_only must be a list, got true"),
        ({"review": {"database_url": {}}}, "review.database_url must be text, got an object"),
    ],
)
def test_a_document_that_cannot_be_is_told_without_a_word_of_python(changes: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        merge(Settings(), changes)


def test_what_a_candidate_keeps_for_its_promotion_outlives_other_settings() -> None:
    kept = promotion_settings(load_settings("folder", ["index.ah_below=7"]))
    later = load_settings("folder", ["index.ah_below=9", "review.allow_simulated=true", "release.keep=9"])
    promoted = merge(later, kept)
    assert promoted.index.ah_below == 7
    assert promoted.review == dataclasses.replace(later.review, allow_simulated=False)
    assert promoted.release.keep == 9


def test_a_round_asks_no_more_than_the_evidence_holds() -> None:
    told = "^review.num_queries must be at most evaluation.max_review_queries 300, got 301$"
    with pytest.raises(SettingsError, match=told):
        load_settings("folder", ["evaluation.max_review_queries=300", "review.num_queries=301"])
    few = EvaluationSettings(max_review_queries=300)
    assert Settings(evaluation=few, review=ReviewSettings(num_queries=300)).review.num_queries == 300


def test_every_complaint_is_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"training\.epochs must be .*; training\.patience must be "):
        load_settings("demo", ["training.epochs=0", "training.patience=0"])


def test_sections_are_validated_where_they_are_made() -> None:
    with pytest.raises(pydantic.ValidationError, match="epochs"):
        TrainingSettings(epochs=0)
    with pytest.raises(pydantic.ValidationError, match="unexpected"):
        IngestSettings(windows=3)
    with pytest.raises(pydantic.ValidationError, match="at most num_queries 5, got 6"):
        ReviewSettings(num_queries=5, min_judged_queries=6)


def test_settings_cannot_be_changed() -> None:
    settings = load_settings("demo")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.training = TrainingSettings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.training.epochs = 1
    assert isinstance(settings.schema.warn_only, tuple)


def test_a_section_survives_the_trip_through_a_dictionary() -> None:
    settings = load_settings("production")
    assert TrainingSettings(**dataclasses.asdict(settings.training)) == settings.training
    assert hash(Settings()) == hash(Settings())
