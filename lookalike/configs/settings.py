"""What a run can be told: every knob once, with its unit, its default and its bounds."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from lookalike.errors import EXIT_USAGE, UserError

STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
HeldOut = Annotated[float, Field(ge=0.0, lt=0.5)]  # two of them still leave something to train on
Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy and Keras both take


@dataclass(frozen=True, config=STRICT)
class IngestSettings:
    """How a source becomes examples."""

    window_spans: Positive = 30  # the newest days of a source with span=YYYY-MM-DD folders
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


@dataclass(frozen=True, config=STRICT)
class ReviewSettings:
    """The human gate."""

    database_url: str = ""  # '' is SQLite below the root; postgresql+psycopg://… for a team
    num_queries: Positive = 300
    min_judged_queries: Positive = 200
    votes_per_task: Positive = 1
    non_inferiority_margin: Fraction = 0.1
    critical_z: Annotated[float, Field(gt=0)] = 1.96
    precision_floor: Fraction = 0.5  # Wilson lower bound of P@8 for a first release
    expiry_days: Positive = 7
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


class SettingsError(UserError, code="BAD_SETTINGS", exit_status=EXIT_USAGE):
    """A setting that does not exist or has a value out of its bounds."""


def setting_names() -> list[str]:
    """The names `--config` takes: the modules of this package that hold SETTINGS, in order."""
    package = importlib.import_module("lookalike.configs")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [name for name in names if hasattr(importlib.import_module(f"lookalike.configs.{name}"), "SETTINGS")]


def load_settings(name: str, overrides: Iterable[str] = ()) -> Settings:
    """The named setting with `section.key=value` overrides applied and validated.

    Raises:
      SettingsError: for an unknown name, section or key, or a value out of bounds.
    """
    if name not in setting_names():
        raise SettingsError(f"config must be one of {', '.join(setting_names())}, got {name!r}")
    settings: Settings = importlib.import_module(f"lookalike.configs.{name}").SETTINGS
    document = dataclasses.asdict(settings)
    for override in overrides:
        _apply(document, override)
    try:
        return TypeAdapter(Settings).validate_python(document)
    except pydantic.ValidationError as error:
        raise SettingsError("; ".join(_explain(problem) for problem in error.errors())) from error


def _apply(document: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    section, dot, key = path.strip().partition(".")
    if not equals or not dot:
        raise SettingsError(f"an override must look like section.key=value, got {override!r}")
    if section not in document:
        raise SettingsError(f"section must be one of {', '.join(document)}, got {section!r}")
    if key not in document[section]:
        raise SettingsError(f"{section} has the keys {', '.join(document[section])}, got {key!r}")
    document[section][key] = _parse(value.strip(), document[section][key])


def _parse(value: str, current: Any) -> Any:
    """What pydantic would not make of text by itself: lists, and the whole numbers of a Literal."""
    if isinstance(current, tuple):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    if isinstance(current, int) and value.isdecimal():
        return int(value)
    return value


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "value_error":
        return f"{where}: {problem['ctx']['error']}"
    return f"{where}: {problem['msg'].lower()}, got {problem['input']!r}"
