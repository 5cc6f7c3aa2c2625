"""What a run can be told: every knob once, with its unit, its default and its bounds."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from lookalike.errors import EXIT_USAGE, UserError, kind_of

STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
HeldOut = Annotated[float, Field(ge=0.0, lt=0.5)]  # two of them still leave something to train on
Positive = Annotated[int, Field(gt=0, lt=2**31)]  # what a database's integer holds
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy and Keras both take


@dataclass(frozen=True, config=STRICT)
class IngestSettings:
    """How a source becomes examples."""

    window_spans: Positive = 30  # the newest days of a source with span=YYYY-MM-DD folders
    columns: tuple[str, ...] = ()  # of a table, by its own names: Bild=image, Preis=price
    variants: Literal["separate", "merge"] = "separate"  # merge: what has one item_group_id is one product
    category_separator: Annotated[str, Field(max_length=3)] = ""  # between levels; '' is inferred from the column
    longest_side_px: Annotated[int, Field(ge=32, le=2048)] = 256  # of the stored canonical image
    eval_fraction: HeldOut = 0.1  # of products without a split of their own
    test_fraction: HeldOut = 0.1  # eval chooses the epoch, test judges it
    near_duplicate_distance: Annotated[int, Field(ge=0, le=3)] = 2  # differing bits of 64; exact up to 3
    max_dead_ratio: Fraction = 0.02
    max_category_dead_ratio: Fraction = 0.05
    seed: Seed = 7


@dataclass(frozen=True, config=STRICT)
class SchemaSettings:
    """Which surprises in the data stop a run."""

    max_label_drift: Fraction = 0.2  # L-infinity distance of label shares, the newest span to the one before
    warn_only: tuple[str, ...] = ()  # features whose anomalies are reported and do not stop the run


@dataclass(frozen=True, config=STRICT)
class ModelSettings:
    """The encoder: a ResNet of basic blocks and an embedding head."""

    image_size_px: Annotated[int, Field(ge=32, le=512)] = 96
    depth: Literal[10, 18, 34] = 18
    width: Annotated[int, Field(ge=8, le=128)] = 32  # channels of the first stage
    embedding_dim: Annotated[int, Field(ge=8, le=4096)] = 128


@dataclass(frozen=True, config=STRICT)
class TrainingSettings:
    """One training from scratch."""

    epochs: Positive = 30
    batch_size: Annotated[int, Field(ge=4, multiple_of=2)] = 64  # images come in pairs of one product
    steps_per_epoch: Annotated[int, Field(ge=0)] = 0  # 0: as many as show every training image once
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3  # the peak of the one-cycle schedule
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    ranking_weight: Annotated[float, Field(ge=0)] = 1.0  # of the product loss beside the category loss
    temperature: Annotated[float, Field(gt=0)] = 0.1  # of the product loss
    label_smoothing: Fraction = 0.1
    patience: Positive = 10  # epochs without a better validation recall@1
    max_rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    max_zoom: Fraction = 0.25
    max_shear: Fraction = 0.1
    colour_jitter: Fraction = 0.2
    erase_fraction: Fraction = 0.25  # side of the erased square, of the image's side
    bfloat16: bool = True  # oneDNN's automatic rewrite while training; ignored where the CPU has no BF16
    seed: Seed = 11


@dataclass(frozen=True, config=STRICT)
class EvaluationSettings:
    """Floors a candidate must reach before people are asked."""

    min_accuracy: Fraction = 0.3  # TFMA, overall slice, labelled held-out images
    min_recall_at_1: Fraction = 0.3  # by product where products have several images, else by category
    max_recall_loss: Fraction = 0.02  # against the serving release on the same queries
    max_gallery_images: Positive = 20_000  # searched by the held-out images
    bootstrap_resamples: Positive = 1000
    pictured_queries: Positive = 24  # rows of the HTML page
    max_review_queries: Positive = 2000  # kept for people, of whom a round asks the first review.num_queries


@dataclass(frozen=True, config=STRICT)
class ReviewSettings:
    """The human gate. What a round keeps of these, the review's tables bound as it is bounded here."""

    database_url: str = ""  # '' is SQLite below the root; postgresql+psycopg://… for a team
    num_queries: Positive = 300
    min_judged_queries: Positive = 200
    votes_per_task: Positive = 1
    non_inferiority_margin: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    critical_z: Annotated[float, Field(gt=0)] = 1.96
    precision_floor: Fraction = 0.5  # Wilson lower bound of P@8 for a first release
    expiry_days: Annotated[int, Field(gt=0, le=1_000_000)] = 7  # dates end with the year 9999
    allow_simulated: bool = False  # only demos and tests accept simulated judgements

    @pydantic.model_validator(mode="after")
    def _check_that_a_round_can_be_completed(self) -> "ReviewSettings":
        if self.min_judged_queries > self.num_queries:
            raise ValueError(
                f"min_judged_queries must be at most num_queries {self.num_queries}, got {self.min_judged_queries}"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class IndexSettings:
    """The nearest-neighbour index."""

    exact_below: Annotated[int, Field(ge=0)] = 20_000  # catalogue images
    ah_below: Annotated[int, Field(ge=0)] = 100_000
    quantization: Literal["none", "bfloat16", "int8"] = "bfloat16"  # of the vectors kept for rescoring
    min_recall_at_10: Fraction = 0.95  # against exact search on held-out queries
    max_queries: Positive = 1000


@dataclass(frozen=True, config=STRICT)
class ReleaseSettings:
    """The release store."""

    keep: Annotated[int, Field(ge=2)] = 5  # the newest releases, and the one that serves
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 30  # in which servers change over, before a rollback ends


@dataclass(frozen=True, config=STRICT)
class DemoSettings:
    """The drawn catalogue of `lookalike demo`."""

    num_products: Annotated[int, Field(ge=12)] = 240
    seed: Seed = 2026
    num_searches: Positive = 12  # wild photos asked of the running service


@dataclass(frozen=True, config=STRICT)
class Settings:
    """All sections. A stage is handed its own section only, so that a change re-runs what depends on it."""

    ingest: IngestSettings = IngestSettings()
    schema: SchemaSettings = SchemaSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    review: ReviewSettings = ReviewSettings()
    index: IndexSettings = IndexSettings()
    release: ReleaseSettings = ReleaseSettings()
    demo: DemoSettings = DemoSettings()

    @pydantic.model_validator(mode="after")
    def _check_that_a_round_can_be_filled(self) -> "Settings":
        if self.review.num_queries > self.evaluation.max_review_queries:
            raise ValueError(
                "review.num_queries must be at most evaluation.max_review_queries"
                f" {self.evaluation.max_review_queries}, got {self.review.num_queries}"
            )
        return self


_MAX_DIGITS = 100  # of a number that Python is asked to read: it refuses thousands
_EXPECTED = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "a whole number"),
    "int_parsing_size": "a shorter whole number",
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    "finite_number": "a finite number",
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
    "string_type": "text",
    "tuple_type": "a list",
    "literal_error": "one of {expected}",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "dataclass_type": "a section of keys and values",
}
AnySettings = TypeVar("AnySettings")


class SettingsError(UserError, code="BAD_SETTINGS", exit_status=EXIT_USAGE):
    """A setting that does not exist or has a value out of its bounds."""


def setting_names() -> list[str]:
    """The names `--config` takes: the modules of this package that hold SETTINGS, in order."""
    package = importlib.import_module("lookalike.configs")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [name for name in names if hasattr(importlib.import_module(f"lookalike.configs.{name}"), "SETTINGS")]


def load_settings(name: str, overrides: Iterable[str] = ()) -> Settings:
    """The named setting with `section.key=value` overrides applied and validated.

    Raises SettingsError: for an unknown name, section or key, or a value out of bounds.
    """
    if name not in setting_names():
        raise SettingsError(f"config must be one of {', '.join(setting_names())}, got {name!r}")
    settings: Settings = importlib.import_module(f"lookalike.configs.{name}").SETTINGS
    return override(settings, overrides)


def override(settings: AnySettings, overrides: Iterable[str]) -> AnySettings:
    """Settings with `section.key=value` overrides, of sections within sections too.

    Raises SettingsError: for an unknown section or key, or a value out of bounds.
    """
    document = _document(settings)
    for one in overrides:
        _apply(document, one)
    return _validated(type(settings), document)


def merge(settings: AnySettings, changes: Mapping[str, Any]) -> AnySettings:
    """Settings with the values of a document that holds some of their sections and keys.

    Raises SettingsError: for an unknown section or key, or a value out of bounds.
    """
    document = _document(settings)
    _merge(document, changes)
    return _validated(type(settings), document)


def promotion_settings(settings: Settings) -> dict[str, Any]:
    """What a candidate keeps for its promotion, as `merge` takes it: a later run's settings are about another one."""
    return {
        "review": {"allow_simulated": settings.review.allow_simulated},
        "index": dataclasses.asdict(settings.index),
    }


def _document(settings: Any) -> dict[str, Any]:
    return dataclasses.asdict(settings)


def _validated(kind: type[AnySettings], document: dict[str, Any]) -> AnySettings:
    try:
        return TypeAdapter(kind).validate_python(document)
    except pydantic.ValidationError as error:
        raise SettingsError("; ".join(_explain(problem) for problem in error.errors())) from error


def _merge(document: dict[str, Any], changes: Mapping[str, Any], path: Sequence[str] = ()) -> None:
    for key, value in changes.items():
        current = _entry(document, key, path)
        if isinstance(current, dict) and isinstance(value, Mapping):
            _merge(current, value, (*path, key))
        else:
            document[key] = value


def _apply(document: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    *sections, key = path.strip().split(".")
    if not equals or not sections:
        raise SettingsError(f"an override must look like section.key=value, got {override!r}")
    parent = document
    for depth, section in enumerate(sections):
        parent = _entry(parent, section, sections[:depth])
    current = _entry(parent, key, sections)
    if isinstance(current, dict):
        raise SettingsError(f"{path.strip()} is a section of the keys {', '.join(current)}, got a value for all of it")
    parent[key] = _parse(value.strip(), current)


def _entry(parent: Any, name: str, path: Sequence[str]) -> Any:
    """What a section has by a name."""
    where = ".".join(path)
    if not isinstance(parent, dict):
        raise SettingsError(f"{where} is one value and has no keys, got {name!r}")
    if name not in parent:
        expected = f"{where} has the keys" if where else "section must be one of"
        raise SettingsError(f"{expected} {', '.join(parent)}, got {name!r}")
    return parent[name]


def _parse(value: str, current: Any) -> Any:
    """What pydantic would not make of text by itself: lists, and the whole numbers of a Literal."""
    if isinstance(current, tuple):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    if isinstance(current, int) and value.isdecimal() and len(value) < _MAX_DIGITS:
        return int(value)
    return value


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "value_error":
        return f"{where}: {problem['ctx']['error']}" if where else str(problem["ctx"]["error"])
    return f"{where} must be {_expected(problem)}, got {_in_words(problem['input'])}"


def _expected(problem: Any) -> str:
    """What would have done, by pydantic's name of what is wrong: its own words are about Python."""
    words = _EXPECTED.get(problem["type"], "of another form")
    return words.format(**problem.get("ctx", {})).replace("'", "")


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str | int | float) else kind_of(value)
