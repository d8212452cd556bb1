"""One typed path of the graph from a user to a product, as it is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias


class PathNode(NamedTuple):
    """A node on a path; `name` is what a person reads."""

    label: str
    key: str
    name: str


class PathLink(NamedTuple):
    """A relationship on a path; `forward` where it leads the way the path is read."""

    type: str
    forward: bool


Steps: TypeAlias = tuple[PathNode | PathLink, ...]


@dataclass(frozen=True)
class Explanation:
    """One typed path from a user to a recommended product.

    Attributes:
        user, product: the two ends' keys.
        kind: what links the product that was bought to the recommended one; without such a product what the
            user did; NONE where there is no path.
        steps: node, relationship, node, …, from the user to the product.
        because: the path in words.
        specificity: from 0 (it could have led to any product) to 1 (to this one alone):
            1 - log(n) / log(N) for n products behind the link and N in all, where n is divided by
            lift * (1 - 1 / sqrt(support)): a lift that few purchases carry weighs less.
        products: n: of the brand, in the category, or bought together with either of the two products.
        lift: how many times the chance share: of the brand or category among the user's purchases against
            everybody's (support: `purchases`), of one product's buyers among the other's (support: users
            who bought both), or of what leads to the product among all that leads to products. What is told
            as no more than 1.0 times explains nothing. None without a path.
        bought_at: the last purchase on this path; where it is not before `before`, the first. Naive UTC. Of
            another event its time.
        purchases: how many products the user bought that lead along this brand or category.
        members: their keys, the latest first; none of what was only viewed, searched for or the like.
        evidence: log(1 + the lift that its support makes sure of): of which paths a model is asked first.
        weight: the share of what speaks for the product, to the model, that goes with the members; None where
            no model was asked.
    """

    user: str
    product: str
    kind: str
    steps: Steps
    because: str
    specificity: float
    products: int
    lift: float | None
    bought_at: datetime | None
    purchases: int
    members: tuple[str, ...] = ()
    evidence: float = 0.0
    weight: float | None = None

    def __str__(self) -> str:
        return self.because

    def to_dict(self) -> dict[str, Any]:
        """For JSON: times as ISO text, steps as lists.

        When it was and how many products are named by the event: `bought_at` and `purchases`, or of another
        `viewed_at` and `viewed`; of no path as of a purchase.
        """
        link = self.steps[1] if len(self.steps) > 1 else None
        event = link.type if isinstance(link, PathLink) else "BOUGHT"
        done = event.lower()
        steps = [
            {"label": s.label, "key": s.key, "name": s.name}
            if isinstance(s, PathNode)
            else {"relationship": s.type, "forward": s.forward}
            for s in self.steps
        ]
        return {
            "user": self.user,
            "product": self.product,
            "kind": self.kind,
            "because": self.because,
            "specificity": self.specificity,
            "products": self.products,
            "lift": self.lift,
            f"{done}_at": self.bought_at.isoformat() if self.bought_at is not None else None,
            "purchases" if event == "BOUGHT" else done: self.purchases,
            "evidence": self.evidence,
            "weight": self.weight,
            "steps": steps,
        }
