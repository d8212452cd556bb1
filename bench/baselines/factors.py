"""Matrix factorisation from the package `implicit`, of the extra `bench`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from bench.baselines.common import Grid, Unknown, above, from_vectors, grid, presence
from kgdistill.errors import ToolMissingError
from kgdistill.progress import step
from kgdistill.tasks.match import Scorer

ALS_GRID: Grid = grid(factors=(16, 64, 128), regularization=(1.0, 10.0, 50.0), alpha=(1.0, 10.0))
BPR_GRID: Grid = grid(factors=(64, 128), learning_rate=(0.02, 0.05), regularization=(0.001, 0.01, 0.05))


def implicit_als(
    history: csr_array,
    *,
    factors: int = 64,
    regularization: float = 10.0,
    alpha: float = 10.0,
    iterations: int = 15,
    seed: int = 0,
    unknown: Unknown = "0",
) -> Scorer:
    """Weighted matrix factorisation by alternating least squares (Hu, Koren & Volinsky 2008).

    Args:
        history: float32 [users, items].
        factors, regularization, alpha, iterations: what `implicit` calls them; a pair's confidence is `alpha`
            against 1 of everything else.
        seed: of the starting point; the result does not depend on the number of threads.
        unknown: what items score that nobody had.

    Raises:
        ToolMissingError: `implicit` is not installed.
        InputError: a value out of range.
    """
    above("factors", factors)
    above("regularization", regularization)
    above("alpha", alpha)
    make = partial(
        _package("implicit.als").AlternatingLeastSquares,
        factors=factors,
        regularization=regularization,
        alpha=alpha,
        iterations=iterations,
        random_state=seed,
        use_gpu=False,
    )
    return _fitted(make, "implicit ALS", history, unknown)


def implicit_bpr(
    history: csr_array,
    *,
    factors: int = 64,
    learning_rate: float = 0.05,
    regularization: float = 0.01,
    iterations: int = 100,
    seed: int = 0,
    unknown: Unknown = "0",
) -> Scorer:
    """Matrix factorisation by Bayesian personalised ranking (Rendle et al. 2009), on one thread.

    Args and errors are those of `implicit_als`; on more threads a seed would not fix the result.
    """
    above("factors", factors)
    above("learning_rate", learning_rate)
    above("regularization", regularization, equal=True)
    make = partial(
        _package("implicit.bpr").BayesianPersonalizedRanking,
        factors=factors,
        learning_rate=learning_rate,
        regularization=regularization,
        iterations=iterations,
        num_threads=1,
        random_state=seed,
        use_gpu=False,
    )
    return _fitted(make, "implicit BPR", history, unknown)


def _fitted(make: Callable[[], Any], title: str, history: csr_array, unknown: Unknown) -> Scorer:
    seen = presence(history)
    with step(f"fitting {title}"), _package("threadpoolctl").threadpool_limits(1, "blas"):
        model = make()
        model.fit(csr_matrix(seen), show_progress=False)
    users, items = (np.asarray(f, dtype=np.float32) for f in (model.user_factors, model.item_factors))
    return from_vectors(users, items, seen, unknown)


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ToolMissingError(
            f"the package {name.partition('.')[0]} is not installed",
            hint="install it with: pip install 'kgdistill[bench]'",
        ) from error
