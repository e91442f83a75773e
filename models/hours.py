"""The hour-of-week profile: when people respond, so that a look at three in the morning is not
fooled.

An appeal put at time T is taken to draw responses at age a at a rate proportional to f(a) p(T + a),
f the density of the completion curve and p the profile (operational time). log p is a sum of
harmonics of the day and of the week. What is counted is, by the hour of the week at which an appeal
was put and by checkpoint, how many of the responses so far came since the last checkpoint: a
binomial count, its logit known but for p. A few penalised Newton steps on these counts, now and
then, give the profile.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ages import AgeGrid

__all__ = ["HOURS_A_WEEK", "HourProfile", "hour_of_week"]

HOURS_A_WEEK = 168
HOUR_MS = 3_600_000
MONDAY = 72  # 1970-01-01 was a Thursday; hour 0 of the week is Monday 00:00 UTC
# Periods in hours of the harmonics of log p, and prior sd of the coefficients of each cosine and
# sine. A day's first harmonic of .5 is common; sharper features are rarer, and the week is milder
# than the day.
HARMONICS = (
    (24.0, 0.5),
    (12.0, 0.3),
    (8.0, 0.2),
    (6.0, 0.1),
    (168.0, 0.2),
    (84.0, 0.2),
    (56.0, 0.2),
)
SD_MIN, SD_MAX = 0.01, 1.0
COEFFICIENT_MAX = 2.0  # a harmonic of e^2 up and down is more than any crowd's day
LEVEL_MAX = 5.0  # logit; farther off no curve is
LEVEL_SD = 0.5  # of what the completion curve may be wrong by at a checkpoint, on the logit scale

Floats = NDArray[np.float64]


def hour_of_week(time_ms: int) -> int:
    """Return the hour of the week, 0 to 167, from Monday 00:00 UTC.

    >>> hour_of_week(1_231_275_840_000)  # Tuesday 2009-01-06T21:04:00Z
    45
    """
    return (time_ms // HOUR_MS + MONDAY) % HOURS_A_WEEK


class HourProfile:
    """Hour-of-week profile of responses, learned from early against late responses.

    Parameters
    ----------
    grid
        The age grid.

    Attributes
    ----------
    new, total
        Weighted responses since the checkpoint before, and so far, by checkpoint and hour of the
        week at which the appeal was put, shape (checkpoints, 168); counted by models.ladder.
    average
        Mean of the profile over a bin, by hour of the week at which the appeal was put and by bin,
        shape (168, bins); 1 everywhere until something was learned.
    coefficients
        Of the harmonics of log p, shape (2 * len(HARMONICS),).
    """

    def __init__(self, grid: AgeGrid) -> None:
        self.grid = grid
        cells = (len(grid.checkpoints), HOURS_A_WEEK)
        self.new = np.zeros(cells)
        self.total = np.zeros(cells)
        self.coefficients = np.zeros(2 * len(HARMONICS))
        self._levels = np.zeros(len(grid.checkpoints) - 1)
        self._variances = np.array([sd * sd for _, sd in HARMONICS])
        self.average = np.ones((HOURS_A_WEEK, grid.bins))

    @property
    def profile(self) -> Floats:
        """The profile by hour of the week, shape (168,), with mean 1."""
        profile = np.exp(_basis() @ self.coefficients)
        normed: Floats = profile / profile.mean()
        return normed

    def refit(self, density: Floats, keep: float) -> None:
        """Estimate the profile again, the shares of the responses by bin being `density`, shape
        (bins,).

        `keep` is the weight that the counts so far will have from now on.
        """
        response = _spectra(_kernel(self.grid.edges_ms), density, self.grid.checkpoints)
        self._step(response)
        self.new *= keep
        self.total *= keep
        self._average()

    def _step(self, response: NDArray[np.complex128]) -> None:
        """Take a Newton step in the coefficients and in a free level for each checkpoint but the
        first.
        """
        seen, levels = _moments(response, self.profile), self._levels
        so_far = np.cumsum(seen, axis=0)[:-1]
        seen = seen[1:]
        slopes = seen[..., 1:] / seen[..., :1] - so_far[..., 1:] / so_far[..., :1]
        logit = np.log(seen[..., 0] / so_far[..., 0]) + levels[:, None]
        share = 1.0 / (1.0 + np.exp(-logit))
        residual = self.new[1:] - self.total[1:] * share
        weight = self.total[1:] * share * (1.0 - share)
        d, g = slopes.shape[-1], len(levels)
        gradient = np.concatenate((np.einsum("gh,ghd->d", residual, slopes), residual.sum(axis=1)))
        curvature = np.zeros((d + g, d + g))
        weighted = weight[..., None] * slopes
        curvature[:d, :d] = np.einsum("ghd,ghe->de", weighted, slopes)
        curvature[:d, d:] = weighted.sum(axis=1).T
        curvature[d:, :d] = curvature[:d, d:].T
        curvature[d:, d:] = np.diag(weight.sum(axis=1))
        precision = np.concatenate((np.repeat(1.0 / self._variances, 2), np.full(g, LEVEL_SD**-2)))
        gradient -= precision * np.concatenate((self.coefficients, levels))
        if not (np.isfinite(gradient).all() and np.isfinite(curvature).all()):
            return  # counts that no profile can explain teach none
        covariance = np.linalg.inv(curvature + np.diag(precision))
        step = covariance @ gradient
        moved = self.coefficients + np.clip(step[:d], -0.5, 0.5)
        self.coefficients = np.clip(moved, -COEFFICIENT_MAX, COEFFICIENT_MAX)
        squares = self.coefficients**2 + np.diag(covariance)[:d]
        self._variances = np.clip(squares.reshape(-1, 2).mean(axis=1), SD_MIN**2, SD_MAX**2)
        self._levels = np.clip(levels + np.clip(step[d:], -1.0, 1.0), -LEVEL_MAX, LEVEL_MAX)

    def _average(self) -> None:
        if not self.coefficients.any():
            self.average = np.ones((HOURS_A_WEEK, self.grid.bins))
            return
        spectrum = np.fft.rfft(self.profile)
        kernel = np.conj(np.fft.rfft(_kernel(self.grid.edges_ms), axis=1))
        self.average = np.ascontiguousarray(np.fft.irfft(spectrum * kernel, n=HOURS_A_WEEK).T)

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        return {
            "coefficients": self.coefficients.tolist(),
            "variances": self._variances.tolist(),
            "levels": self._levels.tolist(),
            "new": self.new.ravel().tolist(),
            "total": self.total.ravel().tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as if never interrupted."""
        self.coefficients = np.array(state["coefficients"], dtype=float)
        self._variances = np.array(state["variances"], dtype=float)
        self._levels = np.array(state["levels"], dtype=float)
        self.new = np.array(state["new"], dtype=float).reshape(self.new.shape)
        self.total = np.array(state["total"], dtype=float).reshape(self.total.shape)
        self._average()


def _moments(response: NDArray[np.complex128], profile: Floats) -> Floats:
    """Return the profile and its slopes, weighted by density over each checkpoint's bins.

    Shape (checkpoints, hour put, 1 + coefficients).
    """
    columns = np.concatenate((profile[:, None], profile[:, None] * _basis()), axis=1)
    spectra = np.fft.rfft(columns, axis=0)
    return np.fft.irfft(spectra[None] * response[:, :, None], n=HOURS_A_WEEK, axis=1)


def _spectra(
    kernel: Floats, density: Floats, checkpoints: tuple[int, ...]
) -> NDArray[np.complex128]:
    """Return the spectra of the hours after posting at which each checkpoint's responses come."""
    starts = (0, *checkpoints[:-1])
    weighted = np.add.reduceat(kernel * density[:, None], starts, axis=0)
    spectra: NDArray[np.complex128] = np.conj(np.fft.rfft(weighted, axis=1))
    return spectra


@lru_cache(maxsize=1)
def _basis() -> Floats:
    """Return cosines and sines of the middle of each hour of the week, shape (168, 2 *
    len(HARMONICS)).
    """
    hours = np.arange(HOURS_A_WEEK) + 0.5
    columns = [
        wave(2.0 * np.pi * hours / period) for period, _ in HARMONICS for wave in (np.cos, np.sin)
    ]
    return np.stack(columns, axis=1)


@lru_cache(maxsize=8)
def _kernel(edges_ms: tuple[int, ...]) -> Floats:
    """Return what share of each bin lies in each hour of the week after posting, shape (bins, 168).

    An appeal is taken to be put in the middle of its hour.
    """
    edges = np.array((0, *edges_ms)) / HOUR_MS + 0.5
    weeks, rest = np.divmod(edges[:, None], HOURS_A_WEEK)
    cover = weeks + np.clip(rest - np.arange(HOURS_A_WEEK), 0.0, 1.0)
    covered = np.diff(cover, axis=0)
    shares: Floats = covered / covered.sum(axis=1, keepdims=True)
    return shares
