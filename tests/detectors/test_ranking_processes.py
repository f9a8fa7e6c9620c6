"""aLRP Loss and AP Loss over two processes that talk by gloo."""

from pathlib import Path

import pytest
import torch
from processes import in_processes
from torch import Tensor, nn

from suite.detectors.alrp_loss import ALRPLoss, APLoss, SelfBalanceHook

SHAPES = [(2, 6, 4, 5), (2, 6, 2, 3)]
POSITIVES = (9, 4)  # of the first and of the second process


def share_of(rank: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """Maps, positives and localisation losses of a process's images, always the same."""
    generator = torch.Generator().manual_seed(7 + rank)
    maps = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]
    pairs = torch.randperm(sum(level.numel() for level in maps), generator=generator)[: POSITIVES[rank]]
    return maps, pairs, torch.rand(POSITIVES[rank], generator=generator, dtype=torch.float64)


class _Scores(nn.Module):
    """Logits as parameters, so that DistributedDataParallel averages the gradients of all processes."""

    def __init__(self, loss: nn.Module, rank: int | None) -> None:
        super().__init__()
        self.loss, self.rank = loss, rank
        # Parameters are the same on all processes: each has those of both and uses its own.
        both = [level for one in range(2) for level in share_of(one)[0]]
        self.maps = nn.ParameterList([nn.Parameter(level) for level in both])

    def forward(self) -> Tensor:
        maps = list(self.maps)
        if self.rank is None:
            of_both = [share_of(rank) for rank in range(2)]
            size = sum(level.numel() for level in of_both[0][0])
            pairs = torch.cat([of_both[0][1], size + of_both[1][1]])
            losses = torch.cat([of_both[0][2], of_both[1][2]])
        else:
            _, pairs, losses = share_of(self.rank)
            maps = maps[: len(SHAPES)] if self.rank == 0 else maps[len(SHAPES) :]
        localisation = losses.requires_grad_()
        if isinstance(self.loss, APLoss):
            return self.loss(maps, pairs)
        classification, term = self.loss(maps, pairs, localisation)
        (self.of_boxes,) = torch.autograd.grad(term, localisation, retain_graph=True)
        return classification


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["alrp", "ap"])
def test_ranking_over_all_processes_is_that_of_the_whole_batch(kind: str, tmp_path: Path) -> None:
    """Loss and gradients after DistributedDataParallel, with positives in unequal numbers."""

    def loss(all_ranks: bool) -> nn.Module:
        return ALRPLoss(all_ranks=all_ranks) if kind == "alrp" else APLoss(all_ranks=all_ranks)

    def body(rank: int) -> int:
        torch.distributed.init_process_group("gloo")
        scores = _Scores(loss(True), rank)
        wrapped = nn.parallel.DistributedDataParallel(scores, find_unused_parameters=True)
        value = wrapped()
        value.backward()
        gradients = [level.grad for level in scores.maps]
        torch.save((value.detach(), gradients, getattr(scores, "of_boxes", None)), tmp_path / f"{rank}.pth")
        return 0

    assert in_processes(body) == [0, 0]
    whole = _Scores(loss(False), None)
    expected = whole()
    expected.backward()
    of_boxes = []
    for rank in range(2):
        value, gradients, boxes = torch.load(tmp_path / f"{rank}.pth")
        torch.testing.assert_close(value, expected.detach(), rtol=1e-6, atol=0)
        for found, level in zip(gradients, whole.maps, strict=True):
            torch.testing.assert_close(found, level.grad, rtol=1e-6, atol=1e-12)
            assert found.any()
        of_boxes.append(boxes)
    if kind == "alrp":  # of a box's loss: averaged over processes later, as all gradients are
        torch.testing.assert_close(torch.cat(of_boxes) / 2, whole.of_boxes, rtol=1e-6, atol=1e-12)


@pytest.mark.slow
def test_self_balance_is_the_same_on_all_processes(tmp_path: Path) -> None:
    """By the terms of both; a process without positives has the weight of the others."""

    class Runner:
        def __init__(self, model: nn.Module) -> None:
            self.model = model

    def body(rank: int) -> int:
        torch.distributed.init_process_group("gloo")
        loss = ALRPLoss()
        terms = []
        for positives in (POSITIVES[rank], 3 * (1 - rank)):
            maps, pairs, losses = share_of(rank)
            classification, term = loss(maps, pairs[:positives], losses[:positives])
            terms.append((float(classification), float(term) / 50))
        SelfBalanceHook().after_train_epoch(Runner(nn.Sequential(loss)))
        torch.save((loss.balance.weight, terms), tmp_path / f"{rank}.pth")
        return 0

    assert in_processes(body) == [0, 0]
    (first, ours), (second, theirs) = (torch.load(tmp_path / f"{rank}.pth") for rank in range(2))
    assert torch.equal(first, second)
    classification, localisation = torch.tensor(ours + theirs, dtype=torch.float64).sum(dim=0)
    expected = (classification + localisation) / localisation
    torch.testing.assert_close(first, expected, rtol=1e-6, atol=0)
    alone = torch.tensor(ours, dtype=torch.float64).sum(dim=0)
    assert (first - alone.sum() / alone[1]).abs() > 1e-3
