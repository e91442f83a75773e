"""Evidence that a series wears out (or rises), which may be looked at after every appeal.

A series is one appealer's appeals of one kind. The null hypothesis says it is as fresh as ever: the
responses to an appeal are negative binomial around `expected_first * exp(u)`, with dispersion phi,
and the appealer's own baseline u starts as N(0, baseline_sd^2) and drifts a little, as a random
walk. An alternative multiplies the mean by a retention known before the appeal. With u integrated
out, the ratio of the two likelihoods of everything seen so far is a nonnegative martingale that
starts at one if the null is true (a test martingale: Shafer, Shen, Vereshchagin and Vovk 2011,
"Test martingales, Bayes factors and p-values", Statistical Science 26(1), 84-101), so by Ville's
inequality it ever reaches 1/alpha with a probability of at most alpha, however often one looks. A
mixture of such ratios over alternatives is one as well, and serves when the shape of the wear-out
is not known.

Where the promise ends, and what was done about it:

* A series whose quality declines steadily is not "as fresh as ever", and only a rest tells the two
  apart. With a baseline fixed for ever, 2 % less with each weekly appeal brings 41 % of the series
  to evidence 100 within 50 appeals (phi = 5); a drift of 1 % in a day's random walk (`drift_sd`)
  under null and alternatives makes that 7 %, and costs 2 to 4 points of power against wear-out (87
  to 68 % against a cliff at the ninth appeal). A drift of 2 % makes it 1 %, and costs three times
  as much.
* `dispersion` must not be taken too high (appeals surer than they are): give a low quantile of its
  posterior.
* An uncertain level widens the dispersion: with E ~ log-normal(sd) on top of NB(phi) the second
  moment matches a negative binomial of 1/phi' = (1 + 1/phi) exp(sd^2) - 1. An error in the level
  that all appeals share for long is left to the drift.
* People asked one by one (an audience is a person, y is 0 or 1): the negative binomial is wider
  than the Bernoulli, and the ratio becomes a supermartingale, i.e. conservative. But who says yes
  is asked no more, so later repeats find the less willing: retention falls with the repeat though
  nobody is tired. `survivors_factor` gives what to multiply `expected_first` by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.alternatives import (
    HALF_LIFE_NODES,
    ROWS,
    log_mixtures,
    mean_retention,
)
from models.weigh import EXPECTED_MIN, differ, learn_count, refuse_unfit

__all__ = ["EXPECTED_MIN", "HALF_LIFE_NODES", "KindEvidence", "SeriesEvidence", "survivors_factor"]

Floats = NDArray[np.float64]


class SeriesEvidence:
    """The evidence of one series.

    Parameters
    ----------
    drift_sd
        Sd of the log baseline's random walk after one day. Zero: the baseline is fixed for ever.

    Attributes
    ----------
    log_e_worn, log_e_rising
        Natural log of the evidence that repeats get less, or more, than a first appeal would.
    appeals
        Appeals learned since the last restart.
    increments
        What the last appeal added to the log ratio of every alternative; `KindEvidence` learns it.
        None while there is nothing to add.

    Examples
    --------
    >>> series = SeriesEvidence()
    >>> for repeat, responses in enumerate((100, 52, 38, 25, 20, 18, 15, 12), start=1):
    ...     stocks = np.full(3, float(repeat - 1))
    ...     series.learn_one(7.0 * repeat, responses, 100.0, 0.5, 10.0, stocks, repeat)
    >>> series.log_e_worn > np.log(20.0) > 0.0 > series.log_e_rising
    True
    """

    __slots__ = (
        "_mean",
        "_ratios",
        "_time_days",
        "_variance",
        "appeals",
        "drift_sd",
        "increments",
        "log_e_rising",
        "log_e_worn",
    )

    def __init__(self, drift_sd: float = 0.01) -> None:
        self.drift_sd = drift_sd
        # One row, the null, until the first repeat: most series never get there.
        self._mean, self._variance, self._ratios = np.zeros(1), np.zeros(1), np.zeros(1)
        self._time_days = 0.0
        self.appeals = 0
        self.increments: Floats | None = None
        self.log_e_worn = self.log_e_rising = 0.0

    def learn_one(
        self,
        time_days: float,
        responses: int,
        expected_first: float,
        baseline_sd: float,
        dispersion: float,
        stocks: Floats | Sequence[float],
        repeat: int,
        expectation_sd: float = 0.0,
        log_retention: float = 0.0,
    ) -> None:
        """Learn the responses to one appeal.

        Parameters
        ----------
        time_days
            When the appeal was put, in days; not before the last one.
        responses
            How many came, >= 0.
        expected_first
            Responses expected of a first appeal now, at this reach and level, without the
            appealer's own baseline, > 0.
        baseline_sd
            Sd of the log baseline between appealers, > 0. Counts with the series' very first appeal
            only.
        dispersion
            phi of the negative binomial, > 0, taken low; infinite is allowed.
        stocks
            Shape (3,), the exposure stock that this audience carries, at `HALF_LIFE_NODES`, in
            appeals.
        repeat
            1 for a first appeal to this audience (or its first after a long rest), 2 for the next.
        expectation_sd
            Sd of the log of `expected_first` that differs from appeal to appeal: the level's.
        log_retention
            Log of what the pooled model forecast before this appeal's responses: one alternative
            among the others, so a wrong one costs power and not validity. 0 if it says nothing.

        Raises
        ------
        ValueError
            If a number is not finite or out of its range; the state is then unchanged.
        """
        first, second, third = map(float, stocks)
        said = (first, second, third, float(repeat), log_retention)
        numbers = time_days, responses, expected_first, baseline_sd, dispersion, expectation_sd
        if self._mean.size == 1 and differ(said, numbers):
            self._expand()
        increments, worn, rising = learn_count(
            self._mean, self._variance, self._ratios, said, numbers, self._time_days, self.drift_sd
        )
        if increments.size == 0:
            refuse_unfit(said, numbers)
            raise AssertionError(f"refused, though all numbers fit: {said}, {numbers}")
        self.log_e_worn, self.log_e_rising, self._time_days = worn, rising, time_days
        self.appeals += 1
        if increments.size > 1:
            self.increments = increments

    def _expand(self) -> None:
        self._mean, self._variance = self._mean.repeat(ROWS), self._variance.repeat(ROWS)
        self._ratios = np.zeros(ROWS)

    def retention(
        self, stocks: Floats | Sequence[float], repeat: int, log_retention: float = 0.0
    ) -> tuple[float, float, float]:
        """Return the retention of the next appeal as the own responses have it, with low and high.

        The average over null and alternatives by what speaks for each, with its 90 % interval:
        coarse (they are few), and drawn towards 1 while little is known. Parameters as for
        `learn_one`.
        """
        if self._ratios.size == 1:
            return 1.0, 1.0, 1.0
        return mean_retention(self._ratios, np.array(stocks), repeat, log_retention)

    def restart(self) -> None:
        """Begin again with evidence 1: after a confirmed alarm, or a rest of more than three
        half-lives.

        What is kept of the baseline is what the fresh appeals alone have shown (first ones, and
        those with a stock below an eighth), with their uncertainty. All of the appeals would be
        more precise if the null were true; but after an alarm it has been refused, and a baseline
        dragged down by worn-out repeats would hide the next wear-out and take recovery for a rise.
        The fresh appeals speak of the baseline under null and alternative alike, so that the new
        process is a test martingale again, as far as the moment of the restart does not depend on
        their luck.
        """
        self._mean, self._variance = self._mean[-1:].copy(), self._variance[-1:].copy()
        self._ratios, self.increments = np.zeros(1), None
        self.appeals = 0
        self.log_e_worn = self.log_e_rising = 0.0

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data; rows as little-endian doubles."""
        return {
            "drift_sd": self.drift_sd,
            "time_days": self._time_days,
            "appeals": self.appeals,
            "mean": self._mean.astype("<f8").tobytes(),
            "variance": self._variance.astype("<f8").tobytes(),
            "ratios": self._ratios.astype("<f8").tobytes(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a `state`."""
        self.drift_sd, self._time_days = state["drift_sd"], state["time_days"]
        self.appeals = state["appeals"]
        self._mean = np.frombuffer(state["mean"], dtype="<f8").copy()
        self._variance = np.frombuffer(state["variance"], dtype="<f8").copy()
        self._ratios = np.frombuffer(state["ratios"], dtype="<f8").copy()
        self.increments = None
        self.log_e_worn = self.log_e_rising = 0.0
        if self._ratios.size > 1:
            self.log_e_worn, self.log_e_rising = log_mixtures(self._ratios)


class KindEvidence:
    """The evidence of a kind: do its series, taken together, wear out (or rise)?

    For one alternative, the same for every series, the ratios of independent series multiply:
    whichever series speaks next, its increment has mean one given all that went before, so the
    product is a test martingale under "no series of this kind wears out"; and so is a mixture of
    such products over the alternatives. The product of the series' mixtures would be one too, but
    pays for not knowing the alternative once a series, where this pays once a kind.

    An error in the level common to all series is not independent between them: give
    `SeriesEvidence` its `expectation_sd`.
    """

    __slots__ = ("_ratios",)

    def __init__(self) -> None:
        self._ratios = np.zeros(ROWS)

    @property
    def log_e_worn(self) -> float:
        """Natural log of the evidence that repeats get less than a first appeal would."""
        return log_mixtures(self._ratios)[0]

    @property
    def log_e_rising(self) -> float:
        """Natural log of the evidence that repeats get more."""
        return log_mixtures(self._ratios)[1]

    def learn_one(self, increments: Floats | None) -> None:
        """Learn what an appeal added to its series: `SeriesEvidence.increments`."""
        if increments is not None:
            self._ratios += increments

    def state(self) -> dict[str, Any]:
        """Return everything learned as plain data."""
        return {"ratios": self._ratios.astype("<f8").tobytes()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a `state`."""
        self._ratios = np.frombuffer(state["ratios"], dtype="<f8").copy()


def survivors_factor(expected_so_far: float, frailty_variance: float) -> float:
    """Return the willingness of somebody who never said yes, relative to the average at the start.

    People differ by a gamma factor of mean 1 and variance `frailty_variance`; who was asked with
    `expected_so_far` responses expected in all, and gave none, has a factor of mean 1 / (1 +
    frailty_variance * expected_so_far) left: the posterior mean of a Gamma(1/v, 1/v) prior after no
    event in that exposure.

    >>> survivors_factor(0.5, 1.0)
    0.6666666666666666
    """
    return 1.0 / (1.0 + frailty_variance * expected_so_far)
