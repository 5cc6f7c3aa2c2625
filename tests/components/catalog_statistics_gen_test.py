import tensorflow_data_validation as tfdv


def load(statistics, split):
    return tfdv.load_stats_binary(f"{statistics.uri}/Split-{split}/FeatureStats.pb")


def columns(dataset):
    return {feature.path.step[0]: feature for feature in dataset.features}


def test_statistics_leave_out_the_image_and_know_the_attributes_and_each_day(
    stored_image, make_examples, make_statistics
):
    train = [
        stored_image(
            f"{number}.jpg", span=f"2026-11-{19 + number % 2}", attributes={"sleeve": "long"} if number else {}
        )
        for number in range(3)
    ]
    statistics = make_statistics(make_examples({"train": train, "test": [stored_image("t.jpg", price="3.5")]}))
    assert statistics.split_names == '["test", "train"]'

    slices = {dataset.name: dataset for dataset in load(statistics, "train").datasets}
    assert {name: dataset.num_examples for name, dataset in slices.items()} == {
        "All Examples": 3,
        "span_2026-11-19": 2,
        "span_2026-11-20": 1,
    }
    found = columns(slices["All Examples"])
    assert "image" not in found
    assert {"image_id", "product_id", "category", "label", "domain", "span", "title", "gender", "sha256"} <= set(found)
    assert "price" not in found  # nobody states one
    sleeve = found["attr:sleeve"].string_stats
    assert (sleeve.common_stats.num_non_missing, sleeve.common_stats.num_missing) == (2, 1)
    assert [(value.value, value.frequency) for value in sleeve.top_values] == [("long", 2.0)]

    [everything, without_day] = load(statistics, "test").datasets
    assert (everything.name, without_day.name) == ("All Examples", "span_")
    assert columns(everything)["price"].num_stats.max == 3.5
