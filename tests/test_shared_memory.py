"""Items travel to workers in memory that is used again, and arrive as they were sent."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenlab.processes.shared_memory import SharedMemory, open_item


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no anonymous files")
@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 1 << 10) | st.integers(0, 3 << 20), max_size=12),
    waiting=st.integers(1, 10),
)
def test_an_item_arrives_as_it_was_sent(sizes: list[int], waiting: int) -> None:
    """Of any size, while others wait, whatever was in the memory before, and in one after another that is
    closed: its files' names come again."""
    for memory in (SharedMemory(), SharedMemory()):
        sent = []
        for number, size in enumerate(sizes):
            array = memory.empty(size)
            array[:] = np.arange(size) % 251 + number
            sent.append((array, memory.label(("documents", array))))
            if len(sent) > waiting:
                sent.pop(0)
            for expected, label in sent:
                assert len(label.item) < 1000, "its bytes lie in the label"
                name, found = open_item(label)
                assert name == "documents"
                assert np.array_equal(found, expected)
            del array, expected, found
        sent.clear()
        memory.close()
