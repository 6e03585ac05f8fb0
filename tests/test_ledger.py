"""The ledger balances to the byte or enters nothing; the one word for a dataset."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenlab.accounting.ledger import ImbalanceError, Ledger, charged_bytes
from tokenlab.accounting.verdicts import EXIT_CODES, Failure, Verdict, overall
from tokenlab.ragged import Ragged

Document = tuple[list[int], int]
documents_of = st.lists(
    st.tuples(st.lists(st.integers(0, 65_535), max_size=5), st.integers(0, 9)), max_size=6
)


def post(ledger: Ledger, documents: list[Document], *, extra: dict[int, int] | None = None) -> None:
    """Enter (charges, unattributed) documents, with `extra` source bytes that nothing accounts for."""
    lengths = [sum(charges) + rest + (extra or {}).get(d, 0) for d, (charges, rest) in enumerate(documents)]
    ledger.post(
        np.array(lengths, np.int64),
        Ragged.from_rows([charges for charges, _ in documents], np.uint16),
        np.array([rest for _, rest in documents], np.int64),
    )


@given(documents_of)
def test_charged_bytes(documents: list[Document]) -> None:
    sums = charged_bytes(Ragged.from_rows([charges for charges, _ in documents], np.uint16))
    assert sums.dtype == np.int64
    assert sums.tolist() == [sum(charges) for charges, _ in documents]


def test_charges_do_not_overflow_their_type() -> None:
    assert charged_bytes(Ragged.from_rows([[65_535] * 70_000], np.uint16)).tolist() == [65_535 * 70_000]


def test_post() -> None:
    ledger = Ledger()
    post(ledger, [([1, 0, 3], 0), ([], 2), ([], 0)])
    expected = Ledger(documents=3, tokens=6, source_bytes=6, charged_bytes=4, unattributed_bytes=2)
    assert ledger == expected  # three tokens, and a BOS a document


@given(documents_of, documents_of)
def test_post_and_add_sum_up(first: list[Document], second: list[Document]) -> None:
    together, one, other = Ledger(), Ledger(), Ledger()
    post(together, first + second)
    post(one, first)
    post(other, second)
    one.add(other)
    assert one == together
    assert one.charged_bytes + one.unattributed_bytes == one.source_bytes
    assert one.documents == len(first) + len(second)


@pytest.mark.parametrize(
    ("extra", "document"), [({1: 1}, 1), ({0: -1}, 0), ({2: 5}, 2), ({1: 1, 2: -1}, 1), ({0: 1, 1: -1}, 0)]
)
def test_an_imbalance_is_named_and_nothing_entered(extra: dict[int, int], document: int) -> None:
    documents = [([2, 3], 0), ([4], 1), ([65_535], 0)]
    ledger = Ledger()
    post(ledger, documents)
    before = asdict(ledger)
    with pytest.raises(ImbalanceError) as caught:
        post(ledger, documents, extra=extra)
    assert asdict(ledger) == before
    charges, rest = documents[document]
    error = caught.value
    assert (error.document, error.charged, error.unattributed) == (document, sum(charges), rest)
    assert error.source_bytes == sum(charges) + rest + extra[document]
    assert str(error) == (
        f"document {document} has {error.source_bytes} source bytes, "
        f"its tokens are charged {sum(charges)} and {rest} are unattributed"
    )


def test_unattributed_bytes_are_never_negative() -> None:
    """5 charged for 4 source bytes does not balance by -1 unattributed."""
    with pytest.raises(ImbalanceError) as caught:
        Ledger().post(np.array([4]), Ragged.from_rows([[5]], np.uint16), np.array([-1]))
    assert caught.value.document == 0


def verdict(name: str, holds: bool | None) -> Verdict:
    return Verdict(name, holds, 1, "documents")


@pytest.mark.parametrize(
    ("balanced", "restored", "declared", "word"),
    [
        # What a dataset is: balanced, reversible; what its scheme says of itself.
        (True, True, True, "trust"),
        (True, False, True, "reject"),
        (False, True, True, "reject"),
        (False, None, True, "reject"),
        (None, False, True, "reject"),
        (True, None, True, "unproven"),
        (None, True, True, "unproven"),
        (None, None, True, "unproven"),
        # A scheme that declares itself not reversible is not asked to be.
        (True, None, False, "normalised"),
        (True, True, False, "normalised"),
        (None, None, False, "unproven"),
        (None, True, False, "unproven"),
        (False, None, False, "reject"),
        (True, False, False, "reject"),
    ],
)
def test_overall(balanced: bool | None, restored: bool | None, declared: bool, word: str) -> None:
    verdicts = [verdict("balanced", balanced), verdict("reversible", restored)]
    assert overall(verdicts, reversible=declared) == word
    assert overall(verdicts[::-1], reversible=declared) == word


def test_exit_codes() -> None:
    assert EXIT_CODES == {"trust": 0, "normalised": 0, "reject": 1, "unproven": 3}


def test_a_failure_in_words() -> None:
    failure = Failure("a byte is lost", document=3, token=0, piece="a b", expected=2, found=1)
    assert str(failure) == "a byte is lost (document 3, token 0, piece 'a b'): expected 2, found 1"
    assert str(Failure("a file is missing")) == "a file is missing"
    assert str(Failure("wrong", expected=0, found=5)) == "wrong: expected 0, found 5"
