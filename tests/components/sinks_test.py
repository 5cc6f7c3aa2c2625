"""Whatever a step writes can be killed at any moment: what is seen is whole, and the next attempt writes the same."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from obstore.store import S3Store
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.candidate import CandidateFacts
from components.canonical_shards import CanonicalShards
from components.catalogue_embedder import GALLERY, QUERY, _merge, _write_piece
from components.dead_letter_files import WriteDeadLetters, merge_dead_letters, quarantine
from components.split_statistics import write_statistics
from components.tf_examples import write_records
from components.verdict import StageVerdict
from lookalike.catalog.dead_letters import DeadLetter, Reason
from lookalike.catalog.product import CatalogImage
from lookalike.storage.address import open_folder
from lookalike.storage.folder import joined
from lookalike.storage.staging import published

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = [
    (os, "fsync"),
    (pathlib.Path, "mkdir"),
    (pathlib.Path, "write_text"),
    (pathlib.Path, "write_bytes"),
    (pathlib.Path, "replace"),
    (pathlib.Path, "rename"),
    (pathlib.Path, "unlink"),
    (shutil, "rmtree"),
    (S3Store, "put"),
    (S3Store, "copy"),
    (S3Store, "delete"),
]
BROKEN = pathlib.Path(__file__)  # no image


def examples(address):
    write_records(open_folder(address), "images.tfrecord", [bytes(1000), bytes(2000)])


def pictures(address):
    shards = CanonicalShards(address)
    shards.add(b"a picture", "1")
    shards.add(b"another one", "2")
    shards.close()


def dead_letters(address):
    broken = CatalogImage("broken.jpg", uri=str(BROKEN), category="Tops")
    letter = quarantine(DeadLetter.of(broken, Reason.NOT_IMAGE, "expected JPEG"), address)
    write = WriteDeadLetters(f"{address}/pieces")
    write.start_bundle()
    write.process(letter)
    merge_dead_letters([piece.value for piece in write.finish_bundle()], f"{address}/pieces", address)


def statistics(address):
    found = statistics_pb2.DatasetFeatureStatisticsList()
    found.datasets.add(name="All Examples", num_examples=3)
    write_statistics(found, address)


def verdict(address):
    StageVerdict(False, ["expected 2, got 1"], {"recall_at_1": 0.5}).save(address)


def candidate(address):
    CandidateFacts("c1", 1, [], "0" * 64, "/model", "/examples", "/taxonomy", "/evaluation", 64).save(address)


def artifact(address):
    """As an index or an evaluation is published."""
    with published(joined(address, "artifact")) as directory:
        (directory / "index").mkdir(exist_ok=True)
        for name in ("index/a", "index/b", "config"):
            with open_folder(str(directory)).writing(name) as path:
                path.write_bytes(name.encode() * 100)


def embeddings(address):
    pieces = [
        (role, _write_piece([(CatalogImage(f"{name}.jpg", jpeg=b"jpeg"), np.ones(4, np.float32))], f"{address}/pieces"))
        for role, name in ((GALLERY, "a"), (GALLERY, "b"), (QUERY, "c"))
    ]
    _merge(pieces, address)


SINKS = (examples, pictures, dead_letters, statistics, verdict, candidate, artifact, embeddings)

# Lets each sink write again and again, each time to another place and killed one step later, until it ends unharmed.
# One process, which forks before it has threads: importing TensorFlow takes longer than all that follows.
KILLER = """
import importlib.util, json, os, signal, sys
from pathlib import Path
from tests.lookalike.release.dying import dying
spec = importlib.util.spec_from_file_location("sinks_test", sys.argv[1])
sinks_test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sinks_test)

def in_halves(write):
    def call(path, data):
        write(path, data[: len(data) // 2])
        return write(path, data)
    return call

def killed(sink, address, step):
    child = os.fork()
    if child == 0:
        countdown = [step]
        for owner, name in sinks_test.STEPS:
            setattr(owner, name, dying(getattr(owner, name), countdown))
        for name in ("write_text", "write_bytes"):
            setattr(Path, name, in_halves(getattr(Path, name)))
        sink(address)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == signal.SIGKILL

left = {}
for sink in sinks_test.SINKS:
    at = left[sink.__name__] = []
    while not at or killed(sink, at[-1], len(at)):
        at.append(f"{sys.argv[2]}/{sink.__name__}/{len(at) + 1}")
print(json.dumps(left))
"""


def contents(address):
    """What is seen, whatever its name: that of a part is the attempt's own."""
    folder = open_folder(address)
    return {folder.read(file.name) for file in folder.files()}


@pytest.fixture(params=["local", "s3"])
def address(request, tmp_path):
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_address")


@pytest.mark.slow  # some hundred processes, each killed at another step
def test_a_sink_killed_at_any_step_shows_nothing_half_written(address):
    command = [sys.executable, "-c", KILLER, __file__, f"{address}/killed"]
    done = subprocess.run(command, cwd=ROOT, check=True, timeout=600, capture_output=True, text=True)
    left = json.loads(done.stdout.splitlines()[-1])
    for sink in SINKS:
        sink(f"{address}/{sink.__name__}")
        whole = contents(f"{address}/{sink.__name__}")
        assert len(left[sink.__name__]) > 2
        for one in left[sink.__name__]:
            assert contents(one) <= whole
            sink(one)
            assert contents(one) == whole
