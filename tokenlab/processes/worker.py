"""What a process does first that works for another."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

from tokenlab.own_process import take_over


def start_worker() -> None:
    """Let the process end with its parent, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    take_over()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
