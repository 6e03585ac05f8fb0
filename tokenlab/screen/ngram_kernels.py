"""The n-gram model's inner loops, over one table of nodes.

A node is a sequence of tokens that was read: its parent is the sequence without the last token, so
the key (parent, token) is exact and nothing collides. The root, node 0, is the empty sequence. A node
of k tokens is an event, its last token after the k - 1 before it, and, up to the highest order, a
context of what follows. A row of `nodes` is eight int32, half a cache line:

    PARENT, TOKEN    the key
    COUNT            of the event
    TOTAL, DISTINCT  of the context: sum of the counts of its events, and how many events
    ONCE, TWICE      of the context: events whose count is 1, is 2

`slots` is a hash table with linear probing of node numbers, 0 for none. `path[k]` is the node of the
last k tokens, `depth` the longest k there is; `child[k]` is the event of the next token behind it, or 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined, kernel

PARENT, TOKEN, COUNT, TOTAL, DISTINCT, ONCE, TWICE = range(7)
NODE_WIDTH = 8
_PRIME = 0x9E3779B97F4A7C15


@inlined
def _slot(parent: int, token: int, slots: NDArray[np.int32]) -> int:
    key = (np.uint64(parent) << np.uint64(32)) | np.uint64(token)
    key = (key ^ (key >> np.uint64(29))) * np.uint64(_PRIME)
    return np.int64((key ^ (key >> np.uint64(32))) & np.uint64(len(slots) - 1))


@kernel
def find(parent: int, token: int, nodes: NDArray[np.int32], slots: NDArray[np.int32]) -> int:
    """The node of `parent` and one token more, or 0."""
    at = _slot(parent, token, slots)
    while True:
        node = np.int64(slots[at])
        if node == 0 or (nodes[node, PARENT] == parent and nodes[node, TOKEN] == token):
            return node
        at = (at + 1) & (len(slots) - 1)


@kernel
def rehash(nodes: NDArray[np.int32], size: int, slots: NDArray[np.int32]) -> None:
    """Enter nodes 1 to `size` - 1 into an empty table."""
    for node in range(1, size):
        at = _slot(nodes[node, PARENT], nodes[node, TOKEN], slots)
        while slots[at] != 0:
            at = (at + 1) & (len(slots) - 1)
        slots[at] = node


@kernel
def _insert(
    parent: int, token: int, nodes: NDArray[np.int32], slots: NDArray[np.int32], size: NDArray[np.int64]
) -> int:
    at = _slot(parent, token, slots)
    while slots[at] != 0:
        at = (at + 1) & (len(slots) - 1)
    node = size[0]
    size[0] = node + 1
    slots[at] = node
    nodes[node, :] = 0
    nodes[node, PARENT] = parent
    nodes[node, TOKEN] = token
    return node


@inlined
def _probability(
    path: NDArray[np.int64],
    depth: int,
    child: NDArray[np.int64],
    nodes: NDArray[np.int32],
    discounts: NDArray[np.float64],
    vocab_size: int,
) -> float:
    """Of the token whose events are `child`: each order interpolated with the one below it, the lowest
    with 1 / vocab_size. `discounts`: float64[4], of counts 0, 1, 2, and 3 and more."""
    p = 1.0 / vocab_size
    for k in range(depth + 1):
        context = path[k]
        total = nodes[context, TOTAL]
        if total == 0:
            continue
        once, twice, distinct = nodes[context, ONCE], nodes[context, TWICE], nodes[context, DISTINCT]
        left = discounts[1] * once + discounts[2] * twice + discounts[3] * (distinct - once - twice)
        count = nodes[child[k], COUNT] if child[k] != 0 else 0
        own = count - discounts[min(count, 3)] if count > 0 else 0.0
        p = (own + left * p) / total
    return p


@inlined
def _learn(
    token: int,
    path: NDArray[np.int64],
    depth: int,
    child: NDArray[np.int64],
    nodes: NDArray[np.int32],
    slots: NDArray[np.int32],
    size: NDArray[np.int64],
) -> None:
    """Count the token in its longest context, and in a shorter one only where it was new in the longer:
    so a lower order counts the contexts that an event continues (Kneser and Ney 1995)."""
    for k in range(depth, -1, -1):
        context = path[k]
        if child[k] == 0:
            child[k] = _insert(context, token, nodes, slots, size)
        count = nodes[child[k], COUNT]
        nodes[child[k], COUNT] = count + 1
        nodes[context, TOTAL] += 1
        if count == 0:
            nodes[context, DISTINCT] += 1
            nodes[context, ONCE] += 1
        elif count == 1:
            nodes[context, ONCE] -= 1
            nodes[context, TWICE] += 1
        elif count == 2:
            nodes[context, TWICE] -= 1
        if count > 0:
            return


@kernel
def read(
    ids: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    bos: int,
    order: int,
    vocab_size: int,
    discounts: NDArray[np.float64],
    score: bool,
    nodes: NDArray[np.int32],
    slots: NDArray[np.int32],
    size: NDArray[np.int64],
    nats: NDArray[np.float64],
    nats_bos: NDArray[np.float64],
) -> None:
    """Learn documents token by token, BOS before and behind each; with `score`, write the nats of each
    token first, and those of the BOS behind each document."""
    path = np.zeros(order + 2, np.int64)
    child = np.zeros(order + 1, np.int64)
    for d in range(len(offsets) - 1):
        # BOS is a context here, and was counted as the end of the document before.
        depth = 0
        if order > 0:
            path[1] = find(0, bos, nodes, slots)
            if path[1] == 0:
                path[1] = _insert(0, bos, nodes, slots, size)
            depth = 1
        for i in range(offsets[d], offsets[d + 1] + 1):
            ends = i == offsets[d + 1]
            token = bos if ends else np.int64(ids[i])
            for k in range(depth + 1):
                child[k] = find(path[k], token, nodes, slots)
            if score:
                cost = -math.log(_probability(path, depth, child, nodes, discounts, vocab_size))
                if ends:
                    nats_bos[d] = cost
                else:
                    nats[i] = cost
            _learn(token, path, depth, child, nodes, slots, size)
            depth = min(depth + 1, order)
            for k in range(depth, 0, -1):
                path[k] = child[k - 1]


@kernel
def distribution(
    context: NDArray[np.int64],
    order: int,
    vocab_size: int,
    discounts: NDArray[np.float64],
    nodes: NDArray[np.int32],
    slots: NDArray[np.int32],
) -> NDArray[np.float64]:
    """The probability of every id behind a context, by the code that scores: float64[vocab_size]."""
    path = np.zeros(order + 1, np.int64)
    depth = 0
    for k in range(1, min(order, len(context)) + 1):
        node = 0
        for token in context[len(context) - k :]:
            node = find(node, token, nodes, slots)
            if node == 0:
                break
        if node == 0:
            break
        path[k] = node
        depth = k
    child = np.zeros(order + 1, np.int64)
    result = np.empty(vocab_size)
    for token in range(vocab_size):
        for k in range(depth + 1):
            child[k] = find(path[k], token, nodes, slots)
        result[token] = _probability(path, depth, child, nodes, discounts, vocab_size)
    return result
