"""Guesses from what stood before: the latest match, how many, and when to stop guessing."""

from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.local.drafts import _GRAM, _MOST, _REST, Drafts


def test_what_followed_the_same_tokens_last_is_guessed():
    ids = [1, 2, 3, 4, 5, 1, 2, 3, 6, 7, 8, 9, 1, 2, 3]
    drafts = Drafts(ids)
    assert drafts.guess(9) == [6, 7, 8, 9]
    assert drafts.guess(2) == [6, 7]
    ids.append(4)
    assert drafts.guess(9) == [5, 1, 2, 3]


def test_without_a_match_nothing_is_guessed():
    assert Drafts([1, 2, 3, 4, 5]).guess(9) == Drafts([]).guess(9) == Drafts([1]).guess(9) == []


def test_right_guesses_become_longer_and_wrong_ones_rest():
    ids = [5] * 40
    drafts = Drafts(ids)
    for _ in range(4):
        guessed = len(drafts.guess(99))
        drafts.learn(guessed, guessed)
    assert len(drafts.guess(99)) == _MOST
    while guessed := len(drafts.guess(99)):
        drafts.learn(guessed, 0)
    assert drafts.guess(99) == []
    ids += [5] * (_REST - 1)
    assert drafts.guess(99) == []
    ids.append(5)
    assert drafts.guess(99) == [5, 5]


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(1, 20))
def test_against_a_plain_search(ids, limit):
    """Fed one token after the other, as a reply grows."""
    grown = []
    drafts = Drafts(grown)
    for token in ids:
        grown.append(token)
        tail = grown[-_GRAM:]
        starts = [n for n in range(_GRAM, len(grown)) if grown[n - _GRAM : n] == tail]
        expected = (grown[starts[-1] :] * 4)[: min(limit, 4)] if starts else []
        assert drafts.guess(limit) == expected
