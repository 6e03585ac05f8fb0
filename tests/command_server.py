"""Commands of `python -m tokenlab`, each in a process that is forked from one which has tokenlab loaded.

A script, because its children must inherit nothing but tokenlab. It reads lines of JSON, [ARGUMENTS,
ENVIRONMENT, FOLDER, STDOUT, STDERR], runs the command in FOLDER with its output in those files, and prints
its return code as `subprocess` has it. Starting is half of what a command costs, and the tests run hundreds.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import sys
import threading
import traceback

from tokenlab.build.pool import WARM, WARM_OPERATORS
from tokenlab.own_process import take_over

TIMEOUT_SECONDS = 120


def serve() -> list[str]:
    """Fork at every line; returns in the child, with its arguments."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            arguments, environment, folder, stdout, stderr = json.loads(line)
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(folder)
            for path, descriptor in ((os.devnull, 0), (stdout, 1), (stderr, 2)):
                os.dup2(os.open(path, os.O_RDWR), descriptor)
            signal.alarm(TIMEOUT_SECONDS)
            return list(arguments)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()


def run(arguments: list[str]) -> int:
    """The command; its exit code."""
    sys.argv = ["tokenlab", *arguments]
    try:
        runpy.run_module("tokenlab", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def end(code: int) -> None:
    """What Python does at its end, but for freeing all objects one by one, which takes half a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    take_over()
    os.environ[WARM_OPERATORS] = json.dumps(["caseops"])
    __import__(WARM)
    __import__("tokenlab.cli")
    del os.environ[WARM_OPERATORS]
    gc.freeze()  # a collection in a child would copy every page that it looks at
    end(run(serve()))
