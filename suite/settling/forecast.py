"""How probably a claim will be settled with more seeds."""

import math

from suite.evaluation.contrasts import LOOKS, Look


def chance(now: Look, seeds: int, margin: float, level: float) -> float:
    """The probability that a claim is settled when it is looked at with more seeds.

    The effect is predicted from what is known now, without a prior: with k seeds in place of n it will be
    normal around the present effect, its variance v_n - v_k, where v_n is the present variance over seeds and
    v_k = v_n n / k. The interval will have the variance v_k plus that over images, which further seeds do not
    change, and degrees of freedom that grow as seeds - 1. ``benchmarks/until_settled.py`` measures how often
    such predictions come true.

    Args:
        now: The claim with all its seeds, n >= 2.
        seeds: k, a key of :data:`suite.evaluation.contrasts.LOOKS`, above n.
        margin: Effects of smaller size count as no difference.
        level: The level at which all looks together decide, in (0, 1).

    Returns:
        In [0, 1].
    """
    from scipy.special import ndtr, stdtrit  # not at the top: it takes as long as a whole plan

    variance = now.seed_error**2 * now.seeds / seeds
    df = now.df * (seeds - 1) / (now.seeds - 1)
    half = float(stdtrit(df, 1 - LOOKS[seeds] * level / 2)) * math.hypot(math.sqrt(variance), now.image_error)
    moves = max(math.sqrt(now.seed_error**2 - variance), 1e-12)
    settled = ndtr((now.effect - half) / moves) + ndtr((-now.effect - half) / moves)
    if half < margin:
        settled += ndtr((margin - half - now.effect) / moves) - ndtr((half - margin - now.effect) / moves)
    return min(1.0, float(settled))
