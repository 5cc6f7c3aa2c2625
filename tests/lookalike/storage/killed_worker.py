"""Runs one action of a folder again and again, each time in a new process that kills itself one call later.

python killed_worker.py ACTION ADDRESS SCRATCH

Nothing is replaced by a stand-in: Python itself tells of each call into the system or into obstore, before and after.
Each time the folder holds OLD at first. Prints how many times the action was killed.
"""

import os
import signal
import sys
from pathlib import Path

from lookalike.storage.address import open_folder

FILE_CALLS = {"mkdir", "open", "write", "rename", "replace", "unlink", "remove", "rmdir", "link", "fsync", "scandir"}
STORE_CALLS = {"put", "copy", "delete", "list", "get", "list_with_delimiter"}


OLD = {"a/file": b"old", "old/a": b"a", "old/last": b"last", "old/sub/b": b"b"}


def fill(folder):
    for name, data in OLD.items():
        with folder.writing(name) as path:
            path.write_bytes(data)


def act(action, folder, scratch):
    if action == "writing":
        with folder.writing("a/file") as path:
            path.write_bytes(b"new")
    elif action == "replace":
        folder.replace("a/file", b"new", folder.read_stamped("a/file").stamp)
    elif action == "publish":
        folder.publish(built(scratch), "new", last="last")
    elif action == "duplicate":
        folder.duplicate("old", "new", last="last")
    else:
        folder.remove("old", first="last")


def built(scratch):
    (scratch / "built" / "sub").mkdir(parents=True)
    for name in ("a", "sub/b", "last"):
        (scratch / "built" / name).write_text(Path(name).name)
    return scratch / "built"


def die_at(step):
    calls = 0

    def count(_frame, event, called):
        nonlocal calls
        if event in ("c_call", "c_return") and called.__name__ in FILE_CALLS | STORE_CALLS:
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def main(action, address, scratch):
    for step in range(1, 1000):
        (scratch / str(step)).mkdir()
        child = os.fork()
        if child == 0:
            folder = open_folder(f"{address}/{step}")
            fill(folder)
            die_at(step)
            act(action, folder, scratch / str(step))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status != signal.SIGKILL:
            sys.stdout.write(str(step - 1))
            return status
    return "the action never ends"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
