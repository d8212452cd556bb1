"""How many texts a second an encoder reads."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from kgdistill.errors import InputError


def texts_per_second(
    encode: Callable[[list[str]], object], texts: Sequence[str], *, threads: int = 1, repeats: int = 5
) -> float:
    """The median rate over repeats, after one run that is not counted.

    Everything is timed that serving pays for: splitting into tokens, encoding, copying to the CPU.

    Args:
        encode: turns texts into vectors, such as an encoder's `encode`.
        texts: what is encoded in each repeat.
        threads: for torch; with 1 the tokenizer does not spread over cores either.
        repeats: how often.

    Raises:
        InputError: there are no texts or no repeats.
    """
    if not texts or repeats < 1 or threads < 1:
        raise InputError("a rate needs texts, and at least one repeat and one thread")
    given = list(texts)
    rates = []
    with _threads(threads):
        encode(given)
        for _ in range(repeats):
            begin = time.perf_counter()
            encode(given)
            rates.append(len(given) / (time.perf_counter() - begin))
    return statistics.median(rates)


def titles_of(
    texts: Sequence[str], split: Callable[[list[str]], list[list[int]]], *, tokens: int = 16, count: int = 512
) -> list[str]:
    """Titles of exactly `tokens` tokens, made of the words of `texts` in their order.

    Args:
        texts: where the words come from; they are read again from the start where they do not suffice.
        split: token ids of each text without marks around it, such as
            `lambda t: encoder.token_ids(t, special=False)`.
        tokens: length of a title.
        count: how many titles.

    Raises:
        InputError: no title of that length can be made.
    """
    words = [word for text in texts for word in text.split()]
    lengths = {w: len(ids) for w, ids in zip(words, split(words), strict=True)} if words else {}
    words = [word for word in words if 0 < lengths[word] <= tokens]
    # A word of one token closes the gap that a longer one does not fit in.
    single = [word for word in words if lengths[word] == 1]
    if not single:
        raise InputError(f"no titles of {tokens} tokens can be made of these texts")
    titles: list[str] = []
    mine: list[str] = []
    room, at = tokens, 0
    while len(titles) < count:
        word = words[at % len(words)]
        if lengths[word] > room:
            word = single[at % len(single)]
        mine.append(word)
        room -= lengths[word]
        at += 1
        if not room:
            titles.append(" ".join(mine))
            mine, room = [], tokens
    return titles


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    had, name = torch.get_num_threads(), "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    torch.set_num_threads(threads)
    os.environ[name] = "true" if threads > 1 else "false"
    try:
        yield
    finally:
        torch.set_num_threads(had)
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
