"""What `lookalike check` found as one HTML page: the account, the classes, and pictures of each fate."""

import base64
import io
from pathlib import Path

import jinja2
from PIL import Image

from lookalike.catalog.check import Checked, Pictured, pictured_of_each

_TEMPLATE = Path(__file__).with_suffix(".html")
_THUMBNAIL_PX = 96


def render_page(source: str, checked: Checked) -> str:
    """The page; pictures are inline."""
    fates = [(fate, list(map(_shown, pictured))) for fate, pictured in pictured_of_each(checked)]
    template = jinja2.Template(_TEMPLATE.read_text(), autoescape=True)
    return str(template.render(source=source, account=checked.account, checked=checked, fates=fates))


def _shown(one: Pictured) -> dict[str, str]:
    thumbnail = Image.open(io.BytesIO(one.jpeg))
    thumbnail.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    encoded = io.BytesIO()
    thumbnail.save(encoded, "JPEG", quality=80)
    return {
        "src": "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode(),
        "name": one.image.image_id,
        "category": "; ".join(one.image.categories),
    }
