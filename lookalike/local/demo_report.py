"""What the demo shows for itself: one HTML page, and one picture of photos beside their neighbours."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image, ImageDraw, ImageFont

from lookalike.catalog.product import CatalogImage
from lookalike.retrieval.metrics import METRICS
from lookalike.storage.local import replace_file

TEMPLATE = Path(__file__).with_suffix(".html")

CELL_PX = 150
GAP_PX = 10
LABEL_PX = 22
RIGHT, WRONG, INK, PAPER = "#12825c", "#c4372b", "#1c2430", "#ffffff"


@dataclass(frozen=True)
class Answer:
    """What the service said to one photo.

    query: the wild photo.
    hits: as the service's JSON has them, best first.
    thumbnails: the hits' pictures, JPEG.
    latency_s: of the request, as the client saw it.
    """

    query: CatalogImage
    hits: Sequence[dict[str, Any]]
    thumbnails: Sequence[bytes]
    latency_s: float


def write_report(
    path: Path,
    told: Mapping[str, Any],
    metrics: Mapping[str, Any],
    accuracy: Sequence[Mapping[str, Any]],
    answers: Sequence[Answer],
    evaluation_uri: str,
) -> None:
    """Writes the page, whole in itself.

    path: of the file.
    told: the summary, name by name.
    metrics: of the release and of what it has to beat, as `retrieval.metrics.evaluate_retrieval` gives them.
    accuracy: of the classifier, a row a slice.
    answers: what the service said.
    evaluation_uri: where the training run's own evaluation lies.
    """
    rows = [
        {
            "query": _inline(answer.query.jpeg),
            "product": answer.query.product_id,
            "hits": [
                {"src": _inline(jpeg), "right": hit["product_id"] == answer.query.product_id} | hit
                for hit, jpeg in zip(answer.hits, answer.thumbnails, strict=True)
            ],
        }
        for answer in answers
    ]
    template = jinja2.Template(TEMPLATE.read_text(), autoescape=True)
    page = template.render(
        told=told, metrics=metrics, names=METRICS, accuracy=accuracy, rows=rows, evaluation=evaluation_uri
    )
    replace_file(path, page)


def write_contact_sheet(path: Path, answers: Sequence[Answer]) -> None:
    """Writes a PNG, a row a photo: the photo, then its neighbours, framed green where the product is the photo's."""
    columns = 1 + max(len(answer.hits) for answer in answers)
    pitch = CELL_PX + GAP_PX
    sheet = Image.new("RGB", (columns * pitch + 2 * GAP_PX, len(answers) * (pitch + LABEL_PX) + GAP_PX), PAPER)
    for row, answer in enumerate(answers):
        top = GAP_PX + row * (pitch + LABEL_PX)
        _paste(sheet, answer.query.jpeg, GAP_PX, top, f"photo of {answer.query.product_id}", INK)
        for column, (hit, jpeg) in enumerate(zip(answer.hits, answer.thumbnails, strict=True), start=1):
            colour = RIGHT if hit["product_id"] == answer.query.product_id else WRONG
            _paste(sheet, jpeg, 2 * GAP_PX + column * pitch, top, f"{hit['score']:.2f} {hit['product_id']}", colour)
    sheet.save(path)


def _paste(sheet: Image.Image, jpeg: bytes, left: int, top: int, label: str, colour: str) -> None:
    picture = Image.open(io.BytesIO(jpeg))
    picture.thumbnail((CELL_PX, CELL_PX))
    sheet.paste(picture, (left, top))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left - 3, top - 3, left + picture.width + 2, top + picture.height + 2), outline=colour, width=3)
    draw.text((left, top + CELL_PX + 4), label, fill=colour, font=ImageFont.load_default(13))


def _inline(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
