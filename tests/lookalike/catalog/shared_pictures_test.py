import pytest

from lookalike.catalog.shared_pictures import says_nothing, shared_hashes, sharer


def sharers(products, categories=("Hats",), others=((),)):
    """Products with categories and other pictures, each list repeated as often as needed."""
    return {sharer(f"p{n}", categories[n % len(categories)], others[n % len(others)]) for n in range(products)}


@pytest.mark.parametrize(
    ("shown_by", "nothing"),
    [
        (sharers(5, ("Hats", "Bags")), True),  # a placeholder
        (sharers(4, ("Hats", "Bags")), False),  # an outfit
        (sharers(40), False),  # one thing in many sizes
        (sharers(40, others=((1, 2),)), False),  # likewise, with more views
        (sharers(6, others=((1,), (2,), (3,))), True),  # a chart beside pictures of their own
        (sharers(6, others=((1,), ())), False),
        (sharers(5, ("Hats", "")), False),  # no category contradicts none
    ],
)
def test_a_picture_says_nothing_when_many_products_that_differ_otherwise_show_it(shown_by, nothing):
    assert says_nothing(shown_by) is nothing


def test_near_copies_are_counted_together_and_a_chain_is_not():
    by_hash = {value: {sharer(f"p{value}", "Hats" if value % 2 else "Bags", ())} for value in range(7)}
    around = [(3, value) for value in (1, 2, 4, 5)]
    assert shared_hashes(by_hash, around) == {1, 2, 3, 4, 5}
    chain = [(value, value + 1) for value in range(6)]
    assert shared_hashes(by_hash, chain) == set()
