"""Functions run in several processes that can form a group, as torchrun starts them."""

import multiprocessing
import os
import socket
from collections.abc import Callable

import torch


def _rank(rank: int, size: int, port: int, body: Callable[[int], int]) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port), LOCAL_WORLD_SIZE=str(size),
    )  # fmt: skip
    torch.set_num_threads(1)
    os._exit(body(rank))


def in_processes(body: Callable[[int], int], size: int = 2) -> list[int | None]:
    """Exit codes of ``body(rank)`` in processes that can form a group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_rank, args=(rank, size, port, body)) for rank in range(size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(400)
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in processes]
