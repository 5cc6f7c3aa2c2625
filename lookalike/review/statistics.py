"""The two statistics a blessing rests on: Tango's score for pairs and Wilson's bound for a proportion."""

import math


def tango_z(wins: int, losses: int, num_queries: int, difference: float) -> float:
    """Score statistic for H0: P(win) − P(loss) = difference, from paired outcomes.

    Tango (1998), Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design, Statistics in Medicine 17:891, with q̃ the constrained maximum-likelihood estimate of P(loss):
    z(d) = (W − L − n·d) / √(n·(2q̃ + d(1 − d))). At d = 0 it is McNemar's z, and 0 where nothing was won or lost.

    Raises ValueError: counts that contradict each other, or a difference outside (−1, 1).
    """
    if min(wins, losses) < 0 or wins + losses > num_queries or num_queries < 1:
        raise ValueError(
            f"wins and losses must be counts within num_queries ≥ 1, got {wins} and {losses} of {num_queries}"
        )
    if not -1 < difference < 1:
        raise ValueError(f"difference must lie between -1 and 1, got {difference}")
    numerator = wins - losses - num_queries * difference
    loss_rate = _constrained_loss_rate(wins, losses, num_queries, difference)
    variance = num_queries * (2 * loss_rate + difference * (1 - difference))
    return numerator / math.sqrt(variance) if variance > 0 else 0.0


def wilson_lower_bound(successes: float, trials: int, z: float) -> float:
    """Lower end of Wilson's (1927) score interval for a proportion; z = 1.96 for the two-sided 95 % interval.

    `successes` may be fractional: a sum of per-trial shares in [0, 1]. Such shares vary at most as much as 0/1
    outcomes of the same mean do (variance ≤ p(1 − p)), so the bound then errs on the low side.

    Raises ValueError: successes outside [0, trials], or no trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"successes must lie in [0, trials] with trials ≥ 1, got {successes} of {trials}")
    proportion = successes / trials
    centre = proportion + z * z / (2 * trials)
    margin = z * math.sqrt(proportion * (1 - proportion) / trials + z * z / (4 * trials * trials))
    return max(0.0, (centre - margin) / (1 + z * z / trials))


def _constrained_loss_rate(wins: int, losses: int, num_queries: int, difference: float) -> float:
    a = 2 * num_queries
    b = -(wins + losses) + (2 * num_queries - wins + losses) * difference
    c = -losses * difference * (1 - difference)
    return (math.sqrt(b * b - 4 * a * c) - b) / (2 * a)
