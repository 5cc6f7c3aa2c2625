from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tensorflow as tf

from components import artifacts
from components.infra_check import InfraCheck, check
from components.infra_probe import probe
from components.tf_examples import encode, write_records
from components.verdict import StageVerdict
from lookalike.storage.address import open_folder


@pytest.fixture(scope="module")
def queries(tmp_path_factory, stored_image):
    """20 images; a probe asks 16."""
    address = str(tmp_path_factory.mktemp("queries"))
    images = (encode(stored_image(f"{number}.jpg", number)) for number in range(20))
    write_records(open_folder(address), "images.tfrecord", images)
    return address


@pytest.fixture(scope="module")
def long_encoder_dir(tmp_path_factory, export_encoder):
    """An encoder that forgot to normalise."""
    directory = tmp_path_factory.mktemp("long")
    export_encoder(directory, length=2.0)
    return directory


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory, encoder_dir, long_encoder_dir, queries):
    """Several checks at once: each imports TensorFlow anew."""
    empty = tmp_path_factory.mktemp("empty")
    questions = {
        "good": (encoder_dir, queries, 300.0),
        "no model": (empty, queries, 300.0),
        "long": (long_encoder_dir, queries, 300.0),
        "hang": (encoder_dir, queries, 0.2),
    }
    with ThreadPoolExecutor() as pool:
        asked = {name: pool.submit(check, model, *rest) for name, (model, *rest) in questions.items()}
        return {name: verdict.result() for name, verdict in asked.items()}


def test_a_model_that_loads_and_answers_passes_with_figures(verdicts):
    verdict = verdicts["good"]
    assert verdict.passed, verdict.reasons
    assert (verdict.facts["dim"], verdict.facts["num_queries"]) == (16, 16)
    assert verdict.facts["p50_ms"] > 0
    assert verdict.reasons[0].startswith("loaded and answered 16 queries")


def test_a_directory_without_a_model_fails_with_the_reason(verdicts):
    verdict = verdicts["no model"]
    assert not verdict.passed
    [reason] = verdict.reasons
    assert reason.startswith("the probe must end with status 0, got 1: ")
    assert "SavedModel file does not exist" in reason


def test_embeddings_of_another_length_fail_with_the_reason(verdicts):
    verdict = verdicts["long"]
    assert not verdict.passed
    assert "embeddings must have length 1, got 2.0000 to 2.0000" in verdict.reasons[0]


def test_a_probe_that_hangs_fails_in_time(verdicts):
    verdict = verdicts["hang"]
    assert not verdict.passed
    assert verdict.reasons == ["the encoder must load and answer within 0.2 s, it did not"]


def test_one_image_must_be_answered_alike_alone_and_in_a_batch(tmp_path, queries):
    class LooksAround(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def embed(self, image_bytes):
            alone = tf.cast(tf.shape(image_bytes)[0] == 1, tf.float32)
            return {"embedding": tf.tile([[alone, 1.0 - alone]], [tf.shape(image_bytes)[0], 1])}

    encoder = LooksAround()
    tf.saved_model.save(encoder, str(tmp_path), signatures={"serving_default": encoder.embed})
    with pytest.raises(ValueError, match="query 0 must be answered alike alone and in a batch"):
        probe(tmp_path, queries)


def test_component_asks_held_out_images_and_writes_the_verdict(
    artifact, make_examples, stored_image, model, monkeypatch
):
    asked = []

    def remember(encoder, queries):
        asked.append((encoder, queries))
        return StageVerdict(False, ["too slow"], {"p50_ms": 1e6})

    monkeypatch.setattr("components.infra_check.check", remember)
    examples, verdict = make_examples({"test": [stored_image()]}), artifact(artifacts.VerdictArtifact, "verdict")
    InfraCheck.test_call(examples=examples, model=model, verdict=verdict)
    assert StageVerdict.load(verdict.uri) == StageVerdict(False, ["too slow"], {"p50_ms": 1e6})
    [(encoder, queries)] = asked
    assert Path(encoder, "saved_model.pb").exists()
    assert queries == f"{examples.uri}/Split-test"
