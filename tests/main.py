"""Runs pytest on the folders it is given: what a Bazel py_test, which executes a file, needs for its main."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
