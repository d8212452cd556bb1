"""The losses of distillation: pure functions of tensors.

Wherever a `mask` stands, True leaves the entry out. A row with nothing left contributes 0, never
NaN. Scores in half precision are raised to float32 first, under autocast as well; float64 stays.
Every mean is over all rows given, those that contribute 0 included.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F


def sampled_softmax(scores: Tensor, positive: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax cross-entropy over a sampled candidate list.

    `mean_b -mean_{c in positive_b} log softmax_c(scores_bc)`.

    Args:
        scores: [B, C] logits.
        positive: bool [B, C]; which candidates are the row's labels.
        mask: bool [B, C]; candidates to leave out, such as known positives that are not labels here.
            A label that is masked is left out too.

    Returns:
        A scalar.
    """
    logits = _raised(scores)
    keep = torch.ones_like(positive) if mask is None else ~mask
    labels = positive & keep
    log_p = _log_softmax(logits, keep)
    # torch.where, not a product: 0 * -inf at a masked entry would be NaN.
    summed = torch.where(labels, log_p, torch.zeros_like(log_p)).sum(dim=1)
    return _mean(-summed / labels.sum(dim=1).clamp(min=1))


def shared_softmax(labels: Tensor, others: Tensor, row: Tensor, times: Tensor) -> Tensor:
    """`sampled_softmax` of labels against candidates that the labels of a user share.

    `mean_b log(exp(labels_b) + Σ_{c ≠ b} exp(others_{row_b, c})) - labels_b`, where c goes over the
    candidates that are not the label itself. For the logQ correction (Bengio & Senécal 2008; Yi et al. 2019,
    RecSys) logits come less the log of the chance with which each candidate was drawn.

    Args:
        labels: [B] logits of the labels, float32 or wider, of the same vectors as the candidates': where
            a label is a candidate too, what both differ by is multiplied by how often it is.
        others: [U, C] logits of the sampled candidates, likewise.
        row: int64 [B]; the row of `others` that a label is compared with.
        times: [B]; how many of the C are the label itself.

    Returns:
        A scalar, at least 0 but for rounding.

    Raises:
        TypeError: the logits are in half precision.
    """
    if {labels.dtype, others.dtype} & {torch.float16, torch.bfloat16}:
        raise TypeError("logits of shared candidates must be float32 or wider")
    against = F.embedding(row, others.logsumexp(dim=1, keepdim=True))[:, 0]  # adds gradients up in one order
    top = torch.maximum(against, labels).detach()
    # The label is in the sum once, however often it was drawn; exact arithmetic would never come below 1 / C.
    total = (against - top).exp() + (1 - times) * (labels - top).exp()
    return _mean(total.clamp(min=0.5 / others.shape[1]).log() + top - labels)


def list_distillation(
    student: Tensor, teacher: Tensor, temperature: float, mask: Tensor | None = None
) -> Tensor:
    """The teacher's distribution over a candidate list, softened (Hinton et al. 2015).

    `T² · mean_b KL(softmax(teacher_b / T) || softmax(student_b / T))`. The factor T² keeps the size
    of the gradient when T changes. No gradient reaches the teacher.

    Args:
        student, teacher: [B, C] logits; the teacher's may be -inf, which gives probability 0.
        temperature: T, above 0.
        mask: bool [B, C]; candidates to leave out of both distributions.

    Returns:
        A scalar, at least 0.

    Raises:
        ValueError: `temperature` is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature is {temperature}; it must be above 0")
    target = _raised(teacher.detach()) / temperature
    keep = torch.ones_like(target, dtype=torch.bool) if mask is None else ~mask
    log_s = _log_softmax(_raised(student) / temperature, keep)
    # A row whose every kept score is -inf says nothing.
    said = keep & (target > -torch.inf).logical_and(keep).any(dim=1, keepdim=True)
    log_t = _log_softmax(target, said)
    p = log_t.exp()
    counted = said & (p > 0)
    zero = torch.zeros_like(log_t)
    difference = torch.where(counted, log_t, zero) - torch.where(counted, log_s, zero)
    return temperature**2 * _mean((torch.where(counted, p, zero) * difference).sum(dim=1))


def relational_cosine(student: Tensor, relational: Tensor, confidence: Tensor | None = None) -> Tensor:
    """How far the student's vectors point from the relational embeddings.

    `sum_n w_n (1 - cos(student_n, relational_n)) / sum_n w_n`. Unlike the other losses this is a
    weighted mean. A zero vector has no direction: such a row has weight 0.

    Args:
        student: [N, D].
        relational: [N, D], already projected into the student's space; gradients reach it.
        confidence: [N], not negative; the weights w. None: all 1.

    Returns:
        A scalar in [0, 2]; 0 where no weight is left.
    """
    a, b = _raised(student), _raised(relational)
    weight = torch.ones_like(a[:, 0]) if confidence is None else _raised(confidence)
    squares = (a * a).sum(dim=1), (b * b).sum(dim=1)
    directed = (squares[0] > 0) & (squares[1] > 0)
    weight = torch.where(directed, weight, torch.zeros_like(weight))
    norms = [torch.where(directed, s, torch.ones_like(s)).sqrt() for s in squares]
    cosine = (a * b).sum(dim=1) / (norms[0] * norms[1])
    total = weight.sum()
    return (weight * (1 - cosine)).sum() / torch.where(total > 0, total, torch.ones_like(total))


def margin_mse(student: Tensor, teacher: Tensor, positive: Tensor, mask: Tensor | None = None) -> Tensor:
    """Squared error of the margins between the positive and every other (Hofstätter et al. 2020).

    `mean_b mean_{c != p_b} ((s_bp - s_bc) - (t_bp - t_bc))²`. Scales must agree. No gradient reaches
    the teacher.

    Args:
        student, teacher: [B, C] scores.
        positive: int64 [B]; the column p of each row's positive, -1 where it has none.
        mask: bool [B, C]; candidates to leave out; a masked positive leaves its row out.

    Returns:
        A scalar.
    """
    keep = torch.ones_like(student, dtype=torch.bool) if mask is None else ~mask
    at = positive.clamp(min=0)[:, None]
    rows = (positive[:, None] >= 0) & keep.gather(1, at)
    others = (keep & rows).scatter(1, at, False)
    # Left-out scores may be infinite: replaced before any arithmetic.
    difference = _raised(student), _raised(teacher.detach())
    kept = keep & rows
    s, t = (torch.where(kept, d, torch.zeros_like(d)) for d in difference)
    error = ((s.gather(1, at) - s) - (t.gather(1, at) - t)) ** 2
    error = torch.where(others, error, torch.zeros_like(error))
    return _mean(error.sum(dim=1) / others.sum(dim=1).clamp(min=1))


def combine(terms: Mapping[str, tuple[float, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Adds up named terms, each (weight, scalar).

    One of weight 0 is left out altogether, so that a broken or infinite value cannot reach the total through
    `0 * inf`.

    Returns:
        The weighted sum, and each term's own value, unweighted, detached, still on its device.

    Raises:
        ValueError: a weight below 0, a value that is no scalar, or no weight above 0.
    """
    total: Tensor | None = None
    parts: dict[str, Tensor] = {}
    for name, (weight, value) in terms.items():
        if not weight >= 0:
            raise ValueError(f"the loss term {name!r} has weight {weight}; it must be 0 or more")
        if weight == 0:
            continue
        if value.dim() != 0:
            raise ValueError(f"the loss term {name!r} has shape {tuple(value.shape)}; it must be a scalar")
        parts[name] = value.detach()
        total = weight * value if total is None else total + weight * value
    if total is None:
        raise ValueError("no loss term has a weight above 0")
    return total, parts


def _raised(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _mean(rows: Tensor) -> Tensor:
    return rows.sum() / max(len(rows), 1)


def _log_softmax(logits: Tensor, keep: Tensor) -> Tensor:
    """Over the kept entries of each row; the others are -inf. A row with none is uniform, not NaN."""
    some = keep.any(dim=1, keepdim=True)
    filled = torch.where(some, logits.masked_fill(~keep, -torch.inf), torch.zeros_like(logits))
    return torch.log_softmax(filled, dim=1)
