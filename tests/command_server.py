"""Commands of `python -m tokenlab`, each in a process that is forked from one which has tokenlab loaded.

A script, because its children must inherit nothing but tokenlab. It reads lines of JSON, [ARGUMENTS,
ENVIRONMENT, FOLDER, STDOUT, STDERR], runs the command in FOLDER with its output in those files, and prints
its return code as `subprocess` has it. Starting is half of what a command costs, and the tests run hundreds.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import sys
import traceback

from tokenlab.own_process import import_numpy, leave, take_over

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


def run(arguments: list[str]) -> None:
    """The command, with which this process ends."""
    sys.argv = ["tokenlab", *arguments]
    try:
        runpy.run_module("tokenlab", run_name="__main__", alter_sys=True)
    except BaseException:
        traceback.print_exc()
        leave(1)


if __name__ == "__main__":
    take_over()
    import_numpy()  # commands fork workers
    __import__("tokenlab.build.warm")
    __import__("tokenlab.cli")
    __import__("tokenlab.ops.caseops_kernels")
    gc.freeze()  # a collection in a child would copy every page that it looks at
    run(serve())
