"""The one JSON spelling that is hashed and signed: sorted keys, no spaces, UTF-8."""

import hashlib
import json


def canonical_json(value: object) -> bytes:
    """Spells a JSON value in the one way that equal values share.

    Raises ValueError: a number is NaN or infinite, which JSON cannot say.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def canonical_sha256(value: object) -> str:
    """The sha256, in hex, of a JSON value's canonical spelling."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
