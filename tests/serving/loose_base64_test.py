import base64

import pytest

from serving.loose_base64 import decode_base64

DATA = bytes(range(256))  # whose base64 has + and /


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(DATA).decode(),
        base64.b64encode(DATA).decode().rstrip("="),
        base64.urlsafe_b64encode(DATA).decode(),
        base64.encodebytes(DATA).decode(),
        base64.encodebytes(DATA).decode().replace("\n", "\r\n"),
        "data:image/jpeg;base64," + base64.b64encode(DATA).decode(),
    ],
    ids=["plain", "no padding", "URL", "MIME", "MIME, CR LF", "data URL"],
)
def test_base64_is_read_as_clients_write_it(text):
    assert decode_base64(text) == DATA


@pytest.mark.parametrize("text", ["data:image/jpeg,abc", "data:image/jpeg;base64", "a", "a*bc", "é", "ab=c"])
def test_what_is_no_base64_is_refused(text):
    with pytest.raises(ValueError, match=r"base64|padding|ASCII|[Dd]ata"):
        decode_base64(text)
