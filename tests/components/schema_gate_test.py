import dataclasses
import json
import logging

import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx import v1 as tfx

from components.catalog_schema_gen import COMMITTED_SCHEMA, CatalogSchemaGen, extend_schema
from components.schema_gate import SchemaGate, describe, find_anomalies
from components.tf_examples import encode
from lookalike.catalog.dead_letters import DataError
from lookalike.configs.settings import SchemaSettings


@pytest.fixture
def schema(stored_image):
    """What CatalogSchemaGen makes for a source without attributes."""
    committed = text_format.Parse(COMMITTED_SCHEMA.read_text(), schema_pb2.Schema())
    return extend_schema(committed, [statistics_of([stored_image()])])


def spoilt(image, **facts):
    """A copy with values that the record would refuse, as a fault on the way could leave them."""
    copy = dataclasses.replace(image)
    for name, value in facts.items():
        object.__setattr__(copy, name, value)
    return copy


def statistics_of(images):
    """What CatalogStatisticsGen makes of them, without Beam's seconds: everything together, and each day."""
    spans = sorted({image.span for image in images})
    slices = {"All Examples": images} | {f"span_{s}": [image for image in images if image.span == s] for s in spans}
    return statistics_pb2.DatasetFeatureStatisticsList(datasets=[_slice(*item) for item in slices.items()])


def _slice(name, images):
    examples = [tf.train.Example.FromString(encode(image)).features.feature for image in images]
    columns = sorted({column for example in examples for column in example} - {"image"})
    values = [[_values(example[column]) if column in example else None for example in examples] for column in columns]
    batch = pa.RecordBatch.from_arrays([pa.array(column) for column in values], columns)
    [dataset] = stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions()).datasets
    dataset.name = name
    return dataset


def _values(feature):
    return list(feature.float_list.value or feature.bytes_list.value)


def three(stored_image, **facts):
    return [stored_image(f"{number}.jpg", **facts) for number in range(3)]


def reasons(images, schema, *, max_label_drift=None, warn_only=()):
    return describe(find_anomalies(statistics_of(images), schema, max_label_drift), "train", warn_only)


def test_data_as_expected_have_no_anomalies(stored_image, schema):
    images = [
        stored_image("a.jpg", price="0", gender="men"),
        stored_image("b.jpg", domain="wild", label="", category=""),
    ]
    assert reasons(images, schema) == []


def test_attributes_are_expected_once_the_schema_knows_them(stored_image, schema):
    images = [stored_image("a.jpg", attributes={"sleeve": "long"}), stored_image("b.jpg")]
    assert reasons(images, schema) == ["train: feature 'attr:sleeve': New column (column in data but not in schema)"]
    assert reasons(images, extend_schema(schema, [statistics_of(images)])) == []


def test_a_missing_column_is_named(stored_image, schema):
    schema.feature.add(name="fabric", type=schema_pb2.BYTES).presence.min_fraction = 1.0
    assert reasons(three(stored_image), schema) == ["train: feature 'fabric': Column is completely missing"]


def test_an_unknown_column_is_named(stored_image, schema):
    schema.feature.remove(tfdv.get_feature(schema, "gender"))
    [reason] = reasons(three(stored_image), schema)
    assert reason == "train: feature 'gender': New column (column in data but not in schema)"


def test_an_unexpected_value_is_named(stored_image, schema):
    [reason] = reasons([*three(stored_image), spoilt(stored_image("d.jpg"), domain="studio")], schema)
    assert reason == "train: feature 'domain': Examples contain values missing from the schema: studio (~25%)."


def test_a_negative_price_is_named(stored_image, schema):
    [reason] = reasons([*three(stored_image, price="1"), spoilt(stored_image("d.jpg"), price="-2.5")], schema)
    assert reason.startswith("train: feature 'price': Unexpectedly low values: -2.5<0")


def test_a_column_of_another_type_is_named(stored_image, schema):
    tfdv.get_feature(schema, "title").type = schema_pb2.FLOAT
    [reason] = reasons(three(stored_image, title="Shirt"), schema)
    assert reason == "train: feature 'title': Expected data of type: FLOAT but got STRING"


def days(stored_image, *shares):
    """Ten images a day: (day, how many of them are shirts); the others are boots."""
    return [
        stored_image(f"{day}-{number}.jpg", span=day, label="Shirt" if number < shirts else "Boot")
        for day, shirts in shares
        for number in range(10)
    ]


def test_labels_that_move_too_far_in_one_day_are_named_with_the_distance(stored_image, schema):
    # Shares go from .4 to .8, then to .4: the last step is .4 long.
    images = days(stored_image, ("2026-11-18", 4), ("2026-11-19", 8), ("2026-11-20", 4))
    [reason] = reasons(images, schema, max_label_drift=0.39)
    assert reason.startswith("train: feature 'label': The Linfty distance between current and previous is 0.4 ")
    assert "above the threshold 0.39" in reason
    assert reasons(images, schema, max_label_drift=0.41) == []


def test_only_the_last_two_days_count_for_drift(stored_image, schema):
    images = days(stored_image, ("2026-11-18", 0), ("2026-11-19", 8), ("2026-11-20", 8))
    assert reasons(images, schema, max_label_drift=0.1) == []


def test_a_single_day_cannot_drift(stored_image, schema):
    assert reasons(days(stored_image, ("2026-11-20", 8)), schema, max_label_drift=0.0) == []
    assert reasons(days(stored_image, ("", 8)), schema, max_label_drift=0.0) == []


def test_a_feature_of_the_warn_only_list_is_logged_and_passes(stored_image, schema, caplog):
    wrong = [spoilt(image, domain="studio", price="-1") for image in three(stored_image)]
    with caplog.at_level(logging.WARNING, "components.schema_gate"):
        [reason] = reasons(wrong, schema, warn_only=("price",))
    assert "'domain'" in reason
    [warning] = [record.getMessage() for record in caplog.records if record.name == "components.schema_gate"]
    assert warning.startswith("train: feature 'price': Unexpectedly low values: -1<0")


def test_gate_validates_every_split_and_keeps_what_it_found(stored_image, artifact, make_examples, make_statistics):
    train = days(stored_image, ("2026-11-19", 10), ("2026-11-20", 5))
    test = days(stored_image, ("2026-11-19", 10), ("2026-11-20", 0))  # too few a day for a drift to mean anything
    odd = spoilt(stored_image("wrong.jpg", attributes={"sleeve": "long"}), domain="studio", price="-1")
    wrong = [*test, odd]
    statistics = make_statistics(make_examples({"train": train, "test": wrong}))
    schema = artifact(tfx.types.standard_artifacts.Schema, "schema")
    CatalogSchemaGen.test_call(statistics=statistics, schema=schema)

    def gate(name, **settings):
        anomalies = artifact(tfx.types.standard_artifacts.ExampleAnomalies, name)
        policy = json.dumps(dataclasses.asdict(SchemaSettings(**settings)))
        SchemaGate.test_call(statistics=statistics, schema=schema, anomalies=anomalies, settings=policy)
        return anomalies

    with pytest.raises(DataError) as raised:
        gate("strict", max_label_drift=0.4)
    told = str(raised.value).removeprefix("the data do not match the schema: ").split("; ")
    assert [reason[: reason.index("':")] for reason in told] == [
        "test: feature 'domain",
        "test: feature 'price",
        "train: feature 'label",
    ]
    assert "studio" in told[0]
    assert "-1" in told[1]

    passed = gate("lenient", max_label_drift=0.6, warn_only=("domain", "price"))
    assert passed.split_names == '["test", "train"]'
    found = {
        split: anomalies_pb2.Anomalies.FromString(
            tf.io.gfile.GFile(f"{passed.uri}/Split-{split}/SchemaDiff.pb", "rb").read()
        )
        for split in ("test", "train")
    }
    assert sorted(found["test"].anomaly_info) == ["domain", "price"]
    assert sorted(found["train"].anomaly_info) == []
