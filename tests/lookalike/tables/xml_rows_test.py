import pytest

from lookalike.tables.table import MAX_ROW_BYTES, TableError

FEED = """<?xml version="1.0" encoding="utf-8"?>
<rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title><image><url>logo.png</url></image>
<item id="1"><g:image>a.jpg</g:image><title><![CDATA[Hat & <b>coat</b>]]></title></item>
<item><g:image>b.jpg</g:image><g:image>c.jpg</g:image><title> Größe </title><g:color>red</g:color></item>
</channel></rss>"""


def test_each_element_with_an_image_is_a_row(read):
    rows, table = read(FEED, "a.xml")
    assert [(row.line, dict(row.cells)) for row in rows] == [
        (1, {"image": "a.jpg", "title": "Hat & <b>coat</b>"}),
        (2, {"image": ["b.jpg", "c.jpg"], "title": "Größe"}),
    ]
    assert table.unwanted == {"id", "color"}


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><x><i><image>&b;</image></i></x>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x><i><image>&a;</image></i></x>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "without a DTD"),
        (OUTSIDE, "without a DTD"),
        ('<!DOCTYPE x SYSTEM "http://example.org/x.dtd"><x/>', "without a DTD"),
        ("<x><i><image>a.jpg</image></i><i>", "XML to its end, after row 1"),
        ("<x/>", "must have a column 'image', got none"),
        ("<x><t>S</t><i><id>1</id><image_link>a.jpg</image_link></i></x>", "'image', got id, image_link; rename"),
        ("", "XML to its end"),
        (f"<x><i><image>{'x' * 2 * MAX_ROW_BYTES}</image></i></x>", f"at most {MAX_ROW_BYTES} bytes"),
        ("<x>" * MAX_ROW_BYTES, f"at most {MAX_ROW_BYTES} bytes"),
    ],
    ids=["bomb", "file", "dtd", "cut", "none", "other names", "empty", "long", "deep"],
)
def test_what_is_no_feed_or_would_do_harm_is_refused(read, text, words):
    with pytest.raises(TableError, match=words):
        read(text, "a.xml")
