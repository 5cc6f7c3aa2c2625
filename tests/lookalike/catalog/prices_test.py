import pytest

from lookalike.catalog.prices import decimal_mark, read_price


@pytest.mark.parametrize(
    ("text", "number", "currency"),
    [
        ("15.00 USD", "15.00", "USD"),
        ("€ 19,99", "19.99", "EUR"),
        ("19,99", "19.99", ""),
        ("1,299.00", "1299.00", ""),
        ("1.299,00 €", "1299.00", "EUR"),
        ("CHF 1'299.-", "1299", "CHF"),
        ("1 299,5 zł", "1299.5", "PLN"),
        ("$10.00", "10.00", ""),
        ("1,234,567", "1234567", ""),
        ("1.234.567,8", "1234567.8", ""),
        ("0.125", "0.125", ""),
        ("26.991000000000003", "26.991000000000003", ""),
        ("1e3", "1e3", ""),
        (".99", "0.99", ""),
        ("1299", "1299", ""),
        ("usd 5", "5", "USD"),
        ("5EUR", "5", "EUR"),
    ],
)
def test_prices_are_read_as_feeds_write_them(text, number, currency):
    assert read_price(text, "") == (number, currency)


@pytest.mark.parametrize("decimal", [",", "."])
def test_what_may_be_thousands_goes_by_its_column(decimal):
    assert read_price("1,299", decimal)[0] == {",": "1.299", ".": "1299"}[decimal]
    assert read_price("1.299", decimal)[0] == {",": "1299", ".": "1.299"}[decimal]


@pytest.mark.parametrize(
    "text",
    [
        "on request",
        "10-20",
        "now 20",
        "12 pcs",
        "5 10",
        "1 29,5",
        "19, 99",
        "from 5",
        "-3",
        "5 for 2",
        "1.2.3",
        "12,34,567",
        "free",
        "1,2,3.4",
        "5%",
    ],
)
def test_words_ranges_and_riddles_are_no_price(text):
    with pytest.raises(ValueError, match="price must"):
        read_price(text, ".")


def test_an_ambiguous_price_is_unknown_where_the_column_shows_neither_mark():
    with pytest.raises(ValueError, match="tell thousands from cents"):
        read_price("1,299", "")


@pytest.mark.parametrize(
    ("price", "mark"),
    [("19,99", ","), ("19.9", "."), ("1.299,00", ","), ("1.299.000", ","), ("1,299", ""), ("5", ""), ("x", "")],
)
def test_a_price_may_show_its_decimal_mark_beyond_doubt(price, mark):
    assert decimal_mark(price) == mark
