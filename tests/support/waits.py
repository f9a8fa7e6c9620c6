"""Operations whose result a CPU must know before it goes on: on a GPU each waits for all before it."""

import traceback
from collections import Counter
from types import TracebackType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = frozenset(
    {
        "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive",
        "equal", "repeat_interleave",
    }
)  # fmt: skip


class Waits(TorchDispatchMode):
    """Counts, while active, the operations of :data:`WAITING`, and where they are called from.

    Attributes:
        counts: Operation and the innermost line outside of torch that calls it -> how often.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            isinstance(one, torch.Tensor) and one.dtype in (torch.bool, torch.uint8) for one in args[1]
        )
        # A tensor of repeats needs their sum.
        if (name in WAITING or by_mask) and not (name == "repeat_interleave" and kwargs):
            self.counts[name, _caller()] += 1
        return func(*args, **(kwargs or {}))

    def total(self) -> int:
        """All that were counted."""
        return sum(self.counts.values())

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        super().__exit__(kind, value, where)


def _caller() -> str:
    for frame in reversed(traceback.extract_stack()):
        file = frame.filename
        if "/torch/" not in file and not file.endswith("waits.py") and not file.startswith("<"):
            return f"{'/'.join(file.split('/')[-2:])}:{frame.lineno}"
    return "torch"
