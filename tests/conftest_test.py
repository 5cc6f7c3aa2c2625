"""What the tests of all rooms share, tried on tests of another repository."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ONE_OF_EACH = """
import pytest

def test_passes():
    pass

def test_on_photos(clothing_photos):
    assert clothing_photos.name == "clothing"

def test_skips():
    pytest.skip("no reason")

@pytest.mark.xfail
def test_is_known_to_fail():
    assert False
"""


@pytest.fixture
def outcomes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs one test of each kind beside this repository's conftest.py, and counts."""
    tests = pytester.mkdir("repository") / "tests"
    tests.mkdir()
    (tests / "conftest.py").write_text(Path(__file__).with_name("conftest.py").read_text())
    (tests / "some_test.py").write_text(ONE_OF_EACH)

    def run(ci: str) -> tuple[dict[str, int], str]:
        monkeypatch.setenv("CI", ci)
        result = pytester.runpytest_inprocess(tests / "some_test.py", "--rootdir", tests.parent)
        return result.parseoutcomes(), result.stdout.str()

    return run


def test_a_skip_is_a_failure_in_ci_and_says_so(outcomes) -> None:
    counts, told = outcomes(ci="true")
    assert counts == {"passed": 1, "failed": 1, "xfailed": 1, "deselected": 1}
    assert "expected no skipped test where CI=true, got: " in told
    assert "no reason" in told
    assert outcomes(ci="")[0] == {"passed": 1, "skipped": 1, "xfailed": 1, "deselected": 1}


def test_without_photos_their_tests_are_left_out_and_that_is_told(outcomes, pytester) -> None:
    left_out = "The tests on real photos were left out: "
    assert left_out in outcomes(ci="true")[1]
    (pytester.path / "shared" / "data" / "clothing").mkdir(parents=True)
    counts, told = outcomes(ci="")
    assert counts == {"passed": 2, "skipped": 1, "xfailed": 1}
    assert left_out not in told
