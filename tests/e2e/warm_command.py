"""Runs `lookalike` commands in forks of one process that has imported everything: each is spared its 15 s of imports.

For every line of standard input, a JSON object {"arguments": […], "stdout": path, "stderr": path, "measured": whether
coverage is to be measured}, it writes the id of the fork, and once that has ended its exit code. A fork leads a process
group of its own.
"""

import gc
import importlib
import json
import os
import runpy
import sys

import coverage

# The first brings in all that a command can import, the others are what TFX imports by name.
IMPORTED = ("lookalike.local.demo", "trainer.run", "transform.preprocessing")


def serve_commands() -> None:
    """Returns at the end of the input; and in every fork, when its command has returned."""
    for line in sys.stdin:
        fork = os.fork()
        if fork == 0:
            return become_command(**json.loads(line))
        tell(fork)
        _, status = os.waitpid(fork, 0)
        tell(os.waitstatus_to_exitcode(status))


def become_command(arguments: list[str], stdout: str, stderr: str, measured: bool) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(stdout, os.O_WRONLY), 1)
    os.dup2(os.open(stderr, os.O_WRONLY), 2)
    if measured:  # from here on: measuring the imports too would take a fifth longer
        coverage.Coverage(data_suffix=True, auto_data=True).start()
    sys.argv = ["lookalike", *arguments]
    runpy.run_module("lookalike", run_name="__main__")


def tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # or every fork would copy these modules, object by object, when it ends
    serve_commands()
