"""The best of many scores, picked where they are; the same ones as `ranking.topk` picks."""

from __future__ import annotations

import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.ranking import topk as numpy_topk


def best(scores: Tensor, candidates: IntArray, k: int) -> tuple[IntArray, FloatArray]:
    """`top_k` by what is faster where the scores are: NumPy on the CPU, torch on any other device."""
    if scores.device.type == "cpu":
        return numpy_topk.top_k(scores.detach().numpy(), candidates, k)
    return top_k(scores, candidates, k)


@torch.no_grad()
def top_k(scores: Tensor, candidates: IntArray, k: int) -> tuple[IntArray, FloatArray]:
    """The `k` best candidates of every row, best first; equal scores go to the smaller item id.

    Args:
        scores: float32 [U, C] on any device; -inf is masked and never returned. Not changed.
        candidates: int64 [C], strictly ascending item ids.
        k: at least 1.

    Returns:
        Items int64 [U, k] and their scores float32 [U, k]; -1 and -inf where fewer than `k` remain. Only
        they leave the device, where working memory is 128 MB or two rows of int64.

    Raises:
        ValueError: NaN among the scores, shapes that do not fit, candidates out of order, `k` below 1.
    """
    numpy_topk.check_asked(tuple(scores.shape), candidates, k)
    if bool(scores.isnan().any()):
        raise ValueError("a score is NaN")

    def pick(rows: slice, most: int) -> tuple[IntArray, FloatArray]:
        block = scores[rows].float()
        columns = _best_columns(block, most)
        found: FloatArray = block.gather(1, columns).cpu().numpy()
        return columns.cpu().numpy(), found

    return numpy_topk.by_blocks(scores.shape[0], candidates, k, pick)


def _best_columns(scores: Tensor, k: int) -> Tensor:
    """int64 [rows, k]: by score from above, then by column."""
    # topk alone leaves open which of equal scores it takes, and devices differ. One integer holds score and
    # column, so that no two are equal. The bits of a float32 order like an integer once those of negative
    # ones are flipped; + 0 makes -0 a 0.
    bits = (scores + 0.0).view(torch.int32)
    rising = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    last = scores.shape[1] - 1
    keys = (rising << 32) + torch.arange(last, -1, -1, device=scores.device)
    return last - (keys.topk(k, dim=1).values & 0xFFFFFFFF)
