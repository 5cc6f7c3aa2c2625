import dataclasses
import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tfx import v1 as tfx

from components import artifacts
from components.human_gate import HumanGate, check_decision
from lookalike.documents import CandidateUnreadableError
from lookalike.review.decisions import DecisionExpired, DecisionInvalid, DecisionPending, DecisionRejected

NOW = datetime.now(timezone.utc)


@pytest.fixture
def check(candidate_facts, encoder_dir, public_key):
    def run(document, **changes):
        arguments = {
            "candidate": candidate_facts,
            "encoder_dir": encoder_dir,
            "public_key": public_key,
            "allow_simulated": False,
        }
        return check_decision(document, **(arguments | changes))

    return run


def test_a_valid_blessing_passes(check, decide):
    assert check(decide()).decision_id == "decision-1"


def test_no_decision_yet_is_pending(check):
    with pytest.raises(
        DecisionPending, match="about candidate candidate-1, got none yet; `lookalike review list` shows"
    ):
        check("")


def test_a_rejection_names_who_and_why(check, decide):
    with pytest.raises(DecisionRejected, match="Ana rejected candidate-1: worse on boots"):
        check(decide(verdict="reject", reason="worse on boots"))


def test_a_blessing_does_not_last_for_ever(check, decide):
    with pytest.raises(DecisionExpired, match="valid until"):
        check(decide(decided_at=NOW - timedelta(days=8), expires_at=NOW - timedelta(days=1)))


def test_a_blessing_by_another_key_is_forged(check, decide):
    with pytest.raises(DecisionInvalid, match="not signed by the expected key"):
        check(decide(key=Ed25519PrivateKey.generate()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("verdict", "bless"),
        ("expires_at", "2999-01-01T00:00:00Z"),
        ("reason", "much better"),
        ("statistics", {"z": 9.0}),
        ("signature", ""),
        ("signature", "no base64!"),
    ],
)
def test_an_edited_decision_is_forged(check, decide, field, value):
    document = json.loads(decide(verdict="reject"))
    with pytest.raises(DecisionInvalid, match="not signed by the expected key"):
        check(json.dumps(document | {field: value}))


@pytest.mark.parametrize("document", ["{}", "yes", '{"verdict": "bless"}'])
def test_what_is_no_decision_document_does_not_pass(check, document):
    with pytest.raises(DecisionInvalid, match="expected a decision document"):
        check(document)


def test_a_decision_about_another_candidate_does_not_pass(check, decide):
    with pytest.raises(DecisionInvalid, match="expected a decision about candidate-1, got one about candidate-0"):
        check(decide(candidate_id="candidate-0"))


def test_a_decision_about_another_model_does_not_pass(check, decide):
    with pytest.raises(DecisionInvalid, match="expected a decision about model"):
        check(decide(model_sha256="0" * 64))


def test_a_model_that_changed_since_it_was_judged_does_not_pass(check, decide, encoder_dir, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(encoder_dir, changed)
    assert check(decide(), encoder_dir=changed)
    with (changed / "variables" / "variables.data-00000-of-00001").open("r+b") as file:
        file.write(b"\x01")
    with pytest.raises(DecisionInvalid, match="expected a decision about model"):
        check(decide(), encoder_dir=changed)


def test_a_model_that_is_gone_is_missing_and_no_forgery(check, decide, tmp_path):
    with pytest.raises(CandidateUnreadableError, match=r"gone must hold the model of candidate-1, it is missing"):
        check(decide(), encoder_dir=tmp_path / "gone")


def test_simulated_raters_bless_only_where_that_is_allowed(check, decide):
    with pytest.raises(DecisionInvalid, match="expected a decision by people"):
        check(decide(simulated=True))
    assert check(decide(simulated=True), allow_simulated=True).simulated


def test_a_key_of_another_kind_verifies_nothing(check, decide):
    pem = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(DecisionInvalid, match="expected an Ed25519 public key"):
        check(decide(), public_key=pem.decode())


@pytest.fixture
def gate(artifact, candidate_facts, model, public_key):
    def run(decision):
        candidate = artifact(artifacts.Candidate, "candidate")
        candidate_facts.save(candidate.uri)
        blessing = artifact(tfx.types.standard_artifacts.ModelBlessing, "blessing")
        HumanGate.test_call(
            candidate=candidate,
            model=model,
            blessing=blessing,
            decision=decision,
            public_key=public_key,
            allow_simulated=False,
        )
        return blessing

    return run


def test_gate_writes_tfx_blessing_with_the_decision_in_it(gate, decide, model):
    decision = decide()
    blessing = gate(decision)
    assert [path.name for path in Path(blessing.uri).iterdir()] == ["BLESSED"]
    assert (Path(blessing.uri) / "BLESSED").read_text() == decision
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_string_custom_property("current_model") == model.uri


def test_gate_blesses_nothing_without_a_decision(gate, tmp_path):
    with pytest.raises(DecisionPending):
        gate("")
    assert list((tmp_path / "blessing").iterdir()) == []


def test_candidate_facts_survive_the_round_trip(tmp_path, candidate_facts):
    facts = dataclasses.replace(candidate_facts, round_id=None, refusals=["too slow"])
    facts.save(str(tmp_path))
    assert type(facts).load(str(tmp_path)) == facts
