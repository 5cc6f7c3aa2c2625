import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from lookalike.review.statistics import tango_z, wilson_lower_bound


def numeric_tango_z(wins: int, losses: int, n: int, d: float) -> float:
    """Maximises the trinomial likelihood under P(win) − P(loss) = d by search."""
    ties = n - wins - losses

    def minus_log_likelihood(loss_rate: float) -> float:
        win_rate = loss_rate + d
        terms = [(wins, win_rate), (losses, loss_rate), (ties, 1 - win_rate - loss_rate)]
        return -sum(count * math.log(max(rate, 1e-300)) for count, rate in terms if count)

    found = minimize_scalar(
        minus_log_likelihood, bounds=(max(0.0, -d), (1 - d) / 2), method="bounded", options={"xatol": 1e-12}
    )
    return (wins - losses - n * d) / math.sqrt(n * (2 * found.x + d - d * d))


@pytest.mark.parametrize(("wins", "losses", "n"), [(90, 60, 300), (12, 30, 80), (1, 0, 9), (0, 7, 40), (5, 5, 10)])
@pytest.mark.parametrize("difference", [-0.15, -0.1, -0.05, 0.08])
def test_tango_z_matches_a_numeric_maximum_likelihood(wins: int, losses: int, n: int, difference: float) -> None:
    assert tango_z(wins, losses, n, difference) == pytest.approx(numeric_tango_z(wins, losses, n, difference), abs=1e-4)


def test_tango_z_at_zero_is_mcnemars_z() -> None:
    assert tango_z(25, 9, 120, 0.0) == pytest.approx((25 - 9) / math.sqrt(25 + 9))


def test_only_ties_prove_non_inferiority_once_there_are_enough() -> None:
    # By hand: q̃ = δ, so z = √(n·δ / (1 − δ)); δ = .1 and n = 36 give 2.
    assert tango_z(0, 0, 36, -0.1) == pytest.approx(2.0)
    assert tango_z(0, 0, 36, 0.0) == 0.0


def test_tango_z_holds_its_error_rate_at_the_margin() -> None:
    rng = np.random.default_rng(3)
    rounds = rng.multinomial(300, [0.25, 0.35, 0.4], size=4000)
    blessed = np.mean([tango_z(int(w), int(losses), 300, -0.1) >= 1.96 for w, losses, _ in rounds])
    assert blessed == pytest.approx(0.025, abs=0.01)


@pytest.mark.parametrize("counts", [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_contradicting_counts_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="within num_queries"):
        tango_z(*counts, 0.0)


def test_a_difference_no_two_rates_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"between -1 and 1, got -1\.5"):
        tango_z(1, 1, 5, -1.5)


@pytest.mark.parametrize(
    ("successes", "trials", "bound"),
    [
        # By hand, z = 2: (p + 2/n − 2·√(p(1−p)/n + 1/n²)) / (1 + 4/n).
        (0, 4, 0.0),
        (4, 4, 0.5),  # (1 + .5 − 2·.25) / 2
        (5, 10, (0.5 + 0.2 - 2 * math.sqrt(0.025 + 0.01)) / 1.4),
        (12, 16, (0.75 + 0.125 - 2 * math.sqrt(0.1875 / 16 + 1 / 256)) / 1.25),  # (.875 − 2·.125) / 1.25 = .5
    ],
)
def test_wilson_lower_bound_by_hand(successes: float, trials: int, bound: float) -> None:
    assert wilson_lower_bound(successes, trials, 2.0) == pytest.approx(bound, abs=1e-12)


def test_twelve_of_sixteen_are_surely_half() -> None:
    assert wilson_lower_bound(12, 16, 2.0) == pytest.approx(0.5)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_proportions_are_refused(successes: float, trials: int) -> None:
    with pytest.raises(ValueError, match="successes must lie"):
        wilson_lower_bound(successes, trials, 1.96)
