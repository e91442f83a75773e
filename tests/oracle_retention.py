"""The slow, obvious way: all appeals at once, negative binomial, penalised likelihood, its maximum.

Half-lives and dispersion are given; the level is that of a world in which nothing happens. Every
appealer has a level of its own with the prior that the filter learns with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

Floats = NDArray[np.float64]


class Fit(NamedTuple):
    """Wear-out per unit of stock on the axes own and kind, and their standard errors."""

    wear: Floats
    sds: Floats


def fit(
    appeals: list[dict[str, Any]],
    responses: NDArray[np.int64],
    stocks: Floats,
    *,
    size: float,
    wear_sds: Floats,
    level_sd: float,
) -> Fit:
    """Return the maximum of the penalised likelihood, by Newton's method with the exact Hessian.

    stocks : shape (appeals, 2), own and kind, at the true half-lives.
    """
    kinds = _codes([x["kind"] for x in appeals])
    who = _codes([x["appealer"] for x in appeals])
    n = len(appeals)
    columns = [
        sparse.csr_matrix(np.column_stack([np.ones(n), -stocks])),
        _dummies(kinds),
        _dummies(who),
    ]
    design = sparse.hstack(columns).toarray()
    offset = np.log([x["exposure"] for x in appeals])
    prior_sds = np.concatenate(
        [[3.0], wear_sds, np.full(kinds.max() + 1, 0.4), np.full(who.max() + 1, level_sd)]
    )
    start = np.zeros(len(prior_sds))
    start[0] = np.log(responses.sum() / np.exp(offset).sum())

    def share(theta: Floats) -> Floats:
        return 1.0 / (1.0 + size * np.exp(-(offset + design @ theta)))

    def loss(theta: Floats) -> float:
        eta = offset + design @ theta
        fitted = responses * eta - (responses + size) * np.logaddexp(np.log(size), eta)
        return float(0.5 * np.sum((theta / prior_sds) ** 2) - fitted.sum())

    def slope(theta: Floats) -> Floats:
        away = responses - (responses + size) * share(theta)
        result: Floats = theta / prior_sds**2 - design.T @ away
        return result

    def hessian(theta: Floats) -> Floats:
        weight = (responses + size) * share(theta) * (1.0 - share(theta))
        result: Floats = np.diag(prior_sds**-2) + (design.T * weight) @ design
        return result

    found = optimize.minimize(
        loss, start, jac=slope, hess=hessian, method="trust-exact", options={"gtol": 1e-6}
    )
    assert found.success, found.message
    sds = np.sqrt(np.diag(np.linalg.inv(hessian(found.x))))
    return Fit(found.x[1:3], sds[1:3])


def _codes(names: list[str]) -> NDArray[np.int64]:
    _, codes = np.unique(names, return_inverse=True)
    return codes


def _dummies(codes: NDArray[np.int64]) -> sparse.csr_matrix:
    n = len(codes)
    return sparse.csr_matrix((np.ones(n), (np.arange(n), codes)), shape=(n, codes.max() + 1))
