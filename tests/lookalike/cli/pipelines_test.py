from lookalike.cli.pipelines import telling_slices

OVERALL = {"slice": "overall", "images": 9000, "accuracy": 0.5}
DOMAIN = {"slice": "domain wild", "images": 9000, "accuracy": 0.5}


def category(number: int) -> dict[str, object]:
    return {"slice": f"category {number:04}", "images": 3, "accuracy": number / 3000}


def test_of_3000_categories_the_worst_and_the_best_are_shown() -> None:
    shown = telling_slices([OVERALL, *(category(number) for number in reversed(range(3000))), DOMAIN])
    assert shown[:2] == [OVERALL, DOMAIN]
    assert shown[2:7] == [category(number) for number in range(5)]
    assert shown[7] == {"slice": "… 2990 categories between, all by --json", "images": None, "accuracy": None}
    assert shown[8:] == [category(number) for number in range(2995, 3000)]


def test_a_few_categories_are_all_shown() -> None:
    rows = [OVERALL, *(category(number) for number in range(10))]
    assert telling_slices(rows) == rows
