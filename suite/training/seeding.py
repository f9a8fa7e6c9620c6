"""Random states derived from names, so that what is drawn depends on nothing that ran before."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derived_seed(*parts: object) -> int:
    """A seed in [0, 2**63) that is the same on every machine for the same ``parts``."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@contextmanager
def temporary_seed(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's CPU generators for the block, then put their states back.

    CUDA's generators are left alone: data is prepared on the CPU, also inside forked loader workers.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
