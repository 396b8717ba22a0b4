"""How far two opinions of the next token are apart."""

import math

Top = list[tuple[int, float]]  # (id, natural log-probability), likeliest first


def divergence(top: Top, other: Top) -> float:
    """Kullback-Leibler's, in nats, over the tokens that both list and all others as one; that of
    whole vocabularies is no smaller."""
    known = dict(other)
    pairs = [(math.exp(p), math.exp(known[id])) for id, p in top if id in known]
    pairs.append(tuple(max(1 - sum(column), 1e-9) for column in zip(*pairs, strict=True)))
    return sum(p * math.log(p / q) for p, q in pairs)


def compare(tops: list[Top], others: list[Top]) -> tuple[float, float]:
    """The share of positions at which the same token is the likeliest, and the mean divergence."""
    pairs = list(zip(tops, others, strict=True))
    same = sum(top[0][0] == other[0][0] for top, other in pairs)
    return same / len(pairs), sum(divergence(*pair) for pair in pairs) / len(pairs)
