import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx import v1 as tfx

from components.catalog_schema_gen import COMMITTED_SCHEMA, CatalogSchemaGen, extend_schema

COMMITTED = text_format.Parse(
    'feature { name: "title" type: BYTES presence { min_fraction: 1.0 } shape {} }', schema_pb2.Schema()
)


def statistics_of(*columns):
    dataset = statistics_pb2.DatasetFeatureStatistics(name="All Examples")
    for column in columns:
        dataset.features.add().path.step.append(column)
    return statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])


def test_an_attribute_becomes_one_optional_text():
    extended = extend_schema(COMMITTED, [statistics_of("title", "attr:sleeve")])
    assert extended.feature[0] == COMMITTED.feature[0]
    [attribute] = extended.feature[1:]
    assert (attribute.name, attribute.type, attribute.value_count.max) == ("attr:sleeve", schema_pb2.BYTES, 1)
    assert not attribute.HasField("presence")


def test_attributes_of_all_splits_are_known_once_and_in_order():
    found = [statistics_of("attr:sleeve"), statistics_of("attr:neck", "attr:sleeve"), statistics_of()]
    assert [feature.name for feature in extend_schema(COMMITTED, found).feature[1:]] == ["attr:neck", "attr:sleeve"]


def test_a_column_that_is_no_attribute_stays_unknown():
    assert extend_schema(COMMITTED, [statistics_of("colour", "attribute")]) == COMMITTED


def test_the_committed_schema_is_not_changed():
    before = COMMITTED.SerializeToString(deterministic=True)
    extend_schema(COMMITTED, [statistics_of("attr:sleeve")])
    assert COMMITTED.SerializeToString(deterministic=True) == before


def test_schema_is_the_committed_one_with_attributes_of_held_out_products_too(
    artifact, stored_image, make_examples, make_statistics
):
    held_out = stored_image("b.jpg", attributes={"neck": "v"})
    statistics = make_statistics(make_examples({"train": [stored_image()], "test": [held_out]}))
    schema = artifact(tfx.types.standard_artifacts.Schema, "schema")
    CatalogSchemaGen.test_call(statistics=statistics, schema=schema)
    written = tfdv.load_schema_text(f"{schema.uri}/schema.pbtxt")
    committed = text_format.Parse(COMMITTED_SCHEMA.read_text(), schema_pb2.Schema())
    known = [feature.name for feature in committed.feature]
    added = [feature.name for feature in written.feature][len(known) :]
    assert [feature.name for feature in written.feature][: len(known)] == known
    assert {"brand", "url", "currency", "availability", "price_text", "canonical_recipe"} < set(added)
    assert added[-1] == "attr:neck"
