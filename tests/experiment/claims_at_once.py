"""``claims_at_once.py FOLDER COUNT new|after-kill``: processes that claim one directory at the same moment.

Prints JSON: the process id of a first, killed holder (or null), and for every process its id, exit code and message.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from mmkit.errors import MMKitError
from mmkit.experiment.run_dir import RunDir


def forked(work):
    process = os.fork()
    if process == 0:
        try:
            os._exit(work())
        finally:
            os._exit(99)
    return process


def main(folder, count, resume):
    killed = killed_holder(folder) if resume else None
    go, start = os.pipe()
    results, result = os.pipe()
    others_ended, end = os.pipe()

    def claim():
        os.close(start)
        os.close(end)
        os.read(go, 1)  # returns when the parent closes its end: for all at once
        try:
            run_dir = RunDir.claim(folder, resume=resume)
        except MMKitError as error:
            os.write(result, f"{json.dumps([os.getpid(), error.exit_code, str(error)])}\n".encode())
            return error.exit_code
        os.write(result, f"{json.dumps([os.getpid(), 0, 'won'])}\n".encode())
        os.read(others_ended, 1)
        run_dir.finish("finished")
        return 0

    processes = [forked(claim) for _ in range(count)]
    os.close(start)
    with os.fdopen(results) as lines:
        told = [json.loads(lines.readline()) for _ in processes]
    os.close(end)
    codes = {process: os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes}
    assert all(codes[process] == code for process, code, _ in told)
    print(json.dumps([killed, told]))


def killed_holder(folder):
    """A process that held the directory and was killed, and is not waited for: a zombie."""
    process = forked(lambda: RunDir.claim(folder) and time.sleep(600))
    while not (folder / "run.json").exists():
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    return process


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), resume=sys.argv[3] == "after-kill")
