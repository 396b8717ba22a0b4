"""make gpu: what a machine with a card is asked, in the order of what the answers are worth.

    python -m benchmarks.gpu [--only PART ...] [--seconds 360] [--results FILE] [--device cuda|cpu]

Needs torch, transformers and psutil, no network and no weights: random ones of StarCoder's geometry
are made on the card. Every part runs in a process of its own that is killed at its bound.
"""
