import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import WindowError
from assistant.generation.window import Exchange, fit

EXCHANGE = Exchange(40, 60)


@pytest.mark.parametrize(
    "window, history, dropped",
    [
        (10 + 300 + 20 + 50 + 1, 300, ()),
        (10 + 300 + 20 + 50, 300, ()),
        (10 + 300 + 20 + 50 - 1, 200, (0,)),  # one token too many
        (10 + 300 + 20 + 50 - 121, 100, (0, 1)),
    ],
)
def test_oldest_leave_first(window, history, dropped):
    ledger = fit(10, [EXCHANGE] * 3, 20, 50, window)
    assert (ledger.preamble, ledger.history, ledger.message, ledger.reply) == (
        *(10, history, 20, 50),
    )
    assert ledger.dropped == dropped
    assert ledger.window == window
    assert ledger.prompt == 10 + history + 20
    assert ledger.free == window - 10 - history - 20 - 50 >= 0


@pytest.mark.parametrize("window, fits", [(79, False), (80, True), (81, True)])
def test_preamble_message_and_reply_must_fit(window, fits):
    if fits:
        assert fit(10, [EXCHANGE], 20, 50, window).dropped == (0,)
    else:
        with pytest.raises(
            WindowError,
            match=r"window holds 79 tokens, and 10 for the prompt template \+ 20 for the text "
            r"\+ 50 for the reply are 80;",
        ):
            fit(10, [EXCHANGE], 20, 50, window)


@pytest.mark.parametrize("window, fits", [(179, False), (180, True)])
def test_pinned_exchanges_must_fit_too(window, fits):
    exchanges = [EXCHANGE, Exchange(40, 60, pinned=True), EXCHANGE]
    if fits:
        assert fit(10, exchanges, 20, 50, window).dropped == (0, 2)
    else:
        with pytest.raises(WindowError, match=r"\+ 100 for pinned turns \+"):
            fit(10, exchanges, 20, 50, window)


def test_the_last_exchange_stays_where_it_can():
    """90 of a room of 100 is above three quarters, but better than to forget all."""
    assert fit(0, [Exchange(10, 40), Exchange(10, 80)], 10, 10, 120).dropped == (0,)
    assert fit(0, [Exchange(10, 40), Exchange(10, 91)], 10, 10, 120).dropped == (0, 1)


def test_a_shorter_message_changes_nothing_about_what_left():
    exchanges = [EXCHANGE] * 6 + [Exchange(250, 10)]
    assert fit(0, exchanges[:6], 250, 50, 800).dropped == (0, 1, 2)
    assert fit(0, exchanges, 20, 50, 800).dropped == (0, 1, 2)


def test_few_turns_pay_for_a_full_window():
    """A prompt goes on from a cached prefix unless something left at this very turn."""
    exchanges = [EXCHANGE] * 60
    dropped = [len(fit(100, exchanges[:n], 40, 100, 2000).dropped) for n in range(60)]
    changes = sum(a != b for a, b in zip(dropped, dropped[1:], strict=False))
    assert dropped[17] == 0 and dropped[59] > 40
    assert changes <= 12
    # To drop no more than must go would change the prompt at each of these turns.
    assert all(fit(100, exchanges[:n], 40, 100, 2000).history > 1000 for n in range(20, 60))


@pytest.mark.parametrize(
    "dropped, history, pinned", [((), 300, 100), ((0,), 200, 100), ((0, 1), 100, 0)]
)
def test_what_leaves_can_be_decided_already(dropped, history, pinned):
    """Pinned or not, and whether or not there is room."""
    exchanges = [EXCHANGE, Exchange(40, 60, pinned=True), EXCHANGE]
    for window in (20 + 10 + history + 50, 1000):
        ledger = fit(10, exchanges, 20, 50, window, dropped)
        assert (ledger.history, ledger.pinned, ledger.dropped) == (history, pinned, dropped)
    with pytest.raises(WindowError, match=rf"\+ {history} for earlier turns .*let earlier turns"):
        fit(10, exchanges, 20, 50, 20 + 10 + history + 49, dropped)


COUNTS = st.integers(0, 400)
EXCHANGES = st.lists(st.builds(Exchange, COUNTS, COUNTS, st.booleans()), max_size=30)


@given(COUNTS, EXCHANGES, COUNTS, st.integers(1, 400), st.integers(1, 3000))
def test_never_above_the_window_and_pinned_never_leave(preamble, exchanges, message, reply, window):
    pinned = sum(exchange.tokens for exchange in exchanges if exchange.pinned)
    least = preamble + pinned + message + reply
    if least > window:
        with pytest.raises(WindowError, match=f"are {least};"):
            fit(preamble, exchanges, message, reply, window)
        return
    ledger = fit(preamble, exchanges, message, reply, window)
    assert ledger.prompt + reply <= window
    assert ledger.pinned == pinned
    assert not any(exchanges[index].pinned for index in ledger.dropped)
    kept = [e for i, e in enumerate(exchanges) if i not in ledger.dropped]
    assert ledger.history == sum(exchange.tokens for exchange in kept)
    # Oldest first: what left stands before everything that stays and is not pinned.
    stays = [i for i, e in enumerate(exchanges) if not e.pinned and i not in ledger.dropped]
    assert ledger.dropped == tuple(sorted(ledger.dropped))
    assert not stays or not ledger.dropped or max(ledger.dropped) < min(stays)
    # Nothing leaves without need.
    if (
        sum(e.tokens for e in exchanges)
        + preamble
        + reply
        + max([message, *(e.message for e in exchanges)])
        <= window
    ):
        assert ledger.dropped == ()


@given(COUNTS, EXCHANGES, COUNTS, st.integers(1, 400), st.integers(1, 3000))
def test_what_left_stays_away(preamble, exchanges, message, reply, window):
    before = set()
    for count, exchange in enumerate(exchanges):
        try:
            ledger = fit(preamble, exchanges[:count], exchange.message, reply, window)
        except WindowError:
            continue
        assert before <= set(ledger.dropped)
        before = set(ledger.dropped)
