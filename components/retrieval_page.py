"""The retrieval evaluation as one HTML page: the figures, and photos beside what they found, right or wrong."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from components.verdict import StageVerdict
from lookalike.catalog.account import Account
from lookalike.catalog.product import CatalogImage
from lookalike.retrieval.headline import headline
from lookalike.retrieval.metrics import METRICS, RetrievalEvaluation

TEMPLATE = Path(__file__).with_suffix(".html")
THUMBNAIL_PX = 112
SHOWN_NEIGHBOURS = 8

Metrics = Mapping[str, Any]


def render_page(
    report: Mapping[str, Any],
    verdict: StageVerdict,
    measured: RetrievalEvaluation,
    queries: Sequence[CatalogImage],
    gallery: Sequence[CatalogImage],
    num_pictured: int,
) -> str:
    """The page, whole in itself: pictures are inline.

    report: what goes into metrics.json.
    verdict: passed or not, with reasons.
    measured: the candidate's evaluation, whose rows are `queries` and whose ids point into `gallery`.
    queries: the held-out images.
    gallery: the images searched.
    num_pictured: how many queries are shown, spread evenly over those that can be answered.
    """
    by_product = bool(measured.answerable_by_product.any())
    answerable = np.flatnonzero(measured.answerable_by_product if by_product else measured.answerable_by_category)
    hits = measured.product_hits if by_product else measured.category_hits
    shown = answerable[np.linspace(0, len(answerable) - 1, min(num_pictured, len(answerable))).astype(int)]
    rows = [
        {
            "query": _picture(queries[row]),
            "neighbours": [
                _picture(gallery[item]) | {"score": float(score), "right": bool(right)}
                for item, score, right in zip(
                    measured.neighbours.ids[row], measured.neighbours.scores[row], hits[row], strict=True
                )
                if item >= 0
            ][:SHOWN_NEIGHBOURS],
        }
        for row in shown
    ]
    return jinja2.Template(TEMPLATE.read_text(), autoescape=True).render(
        report=report,
        account=Account.from_document(report["account"]) if report["account"] else None,
        verdict=verdict,
        metrics=METRICS,
        headline=headline(report["candidate"]),
        serving_headline=headline(report["baseline"]) if report["baseline"] else None,
        tables=_tables(report["candidate"], report["baseline"]),
        rows=rows,
        right_means="product" if by_product else "category",
    )


def _tables(candidate: Metrics, serving: Metrics | None) -> list[tuple[str, str, list[Any]]]:
    """Title, what a row is, and the rows: name, figures of the candidate, figures of the serving release or None."""
    by_category = serving and serving["category"]["by_category"]
    return [
        ("By product", "track", _rows(candidate["product"], serving and serving["product"])),
        ("By category", "track", _rows(candidate["category"], serving and serving["category"])),
        ("By category of the photo", "category", _rows(candidate["category"]["by_category"], by_category)),
    ]


def _rows(candidate: Metrics, serving: Metrics | None) -> list[tuple[str, Metrics, Metrics | None]]:
    answered = {name: values for name, values in candidate.items() if name != "by_category" and values["num_queries"]}
    return [(name, values, serving and serving[name]) for name, values in answered.items()]


def _picture(image: CatalogImage) -> dict[str, Any]:
    thumbnail = Image.open(io.BytesIO(image.jpeg))
    thumbnail.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    encoded = io.BytesIO()
    thumbnail.save(encoded, "JPEG", quality=85)
    source = "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()
    return {"src": source, "product": image.product_id, "category": image.category, "domain": image.domain}
