"""Disagreement: the standard deviation over maps of probability that arrive one after another."""

from __future__ import annotations

import torch


class Spread:
    """Standard deviation over members of equal weight, by Welford's sums. [1]

    All terms that are added are squares, so that rounding never gives a negative variance.

    References:
        [1] Welford, "Note on a method for calculating corrected sums of squares and products",
            Technometrics 4(3), 1962. https://doi.org/10.2307/1266577

    Examples:
        >>> spread = Spread()
        >>> spread.add(torch.tensor([0.25, 1.0]))
        >>> spread.add(torch.tensor([0.75, 1.0]))
        >>> spread.standard_deviation()
        tensor([0.2500, 0.0000])
    """

    def __init__(self) -> None:
        self._number = 0
        self._mean = torch.zeros(1)
        self._squares = torch.zeros(1)

    def add(self, values: torch.Tensor, within: torch.Tensor | None = None) -> None:
        """Add a member, or the mean of a group of members.

        By the law of total variance, the standard deviation is then that over all members of all
        groups, each group with the same weight.

        Args:
            values: The member, or the mean of the group, any shape; not kept.
            within: Standard deviation within the group; None for a single member.
        """
        self._number += 1
        if self._number == 1:
            self._mean, self._squares = values.clone(), torch.zeros_like(values)
        else:
            step = values - self._mean
            self._squares.addcmul_(step, step, value=(self._number - 1) / self._number)
            self._mean.add_(step, alpha=1 / self._number)
        if within is not None:
            self._squares.addcmul_(within, within)

    def standard_deviation(self) -> torch.Tensor:
        """Standard deviation of the whole population of members (divided by their number)."""
        return (self._squares / self._number).sqrt_()
