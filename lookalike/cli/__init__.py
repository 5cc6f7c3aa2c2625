"""The `lookalike` command: parse, build settings, call one function."""
