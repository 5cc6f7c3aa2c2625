"""Base64 as clients write it: data URLs of browsers, lines of MIME, the alphabet of URLs, with and without padding."""

import base64

_URL_ALPHABET = str.maketrans("-_", "+/")
_QUANTUM = 4  # characters for three bytes (RFC 4648, section 4)


def decode_base64(text: str) -> bytes:
    """The bytes. Raises ValueError: it is no base64 in any of these forms."""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise ValueError("a data URL must hold base64")
    plain = "".join(text.split()).translate(_URL_ALPHABET).rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % _QUANTUM), validate=True)
