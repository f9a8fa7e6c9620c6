"""aLRP Loss and AP Loss as modules that a head builds, and aLRP's self-balance of its two terms."""

import torch
from mmdet.registry import HOOKS, MODELS
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from suite.detectors.ranking_losses import Ranking, alrp, average_precision
from suite.limits import check_fields

_FIRST_WEIGHT = 50.0
"""The localisation term's weight before the first period has ended, as released."""


class SelfBalance(nn.Module):
    """The weight of aLRP's localisation term: (mean loc + mean cls) / mean loc of the period before.

    State and weight are buffers, so that a checkpoint holds them. A period is ended from outside, by
    :class:`SelfBalanceHook` at the end of an epoch.
    """

    weight: Tensor
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(_FIRST_WEIGHT, dtype=torch.float64))
        self.register_buffer("sums", torch.zeros(2, dtype=torch.float64))

    @torch.no_grad()
    def add(self, classification: Tensor, localisation: Tensor) -> None:
        """Count a batch's terms; those of a batch without positives are 0 and change no mean's ratio."""
        self.sums += torch.stack([classification.double(), localisation.double()])

    @torch.no_grad()
    def end_period(self) -> None:
        """Set the weight by the period's terms on all processes, and begin the next one."""
        all_reduce(self.sums)
        classification, localisation = self.sums
        # Multiplied by no weight yet, both are means over as many steps.
        balanced = (classification + localisation) / localisation
        self.weight.copy_(torch.where(localisation > 0, balanced, self.weight))
        self.sums.zero_()


@HOOKS.register_module()
class SelfBalanceHook(Hook):
    """Ends the period of every :class:`SelfBalance` of the model at the end of each epoch.

    The released period is 3665 steps, an epoch of COCO at 32 images a step and nothing else.
    """

    def after_train_epoch(self, runner: Runner) -> None:
        """End the period, before the epoch's checkpoint is written."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for module in model.modules():
            if isinstance(module, SelfBalance):
                module.end_period()


@MODELS.register_module()
class ALRPLoss(nn.Module):
    """aLRP Loss (Oksuz et al., NeurIPS 2020): one ranking ties classification and localisation.

    Follows the released code; see docs/methods.md for where it differs on purpose.

    Args:
        delta: Half the width of the ramp that compares two logits.
        tau: IoU from which on a box counts as localised: a localisation loss is divided by its range and by
            1 - tau. With 0.5, GIoU's loss stays as it is.
        self_balance: Weigh the localisation term by :class:`SelfBalance` (SB).
        w_r: A fixed weight in its place (Table A4).
        loss_weight: Factor of both terms, 0.2 in the proposal network of Faster R-CNN.
        all_ranks: Rank the logits of all processes together (:func:`~suite.detectors.ranking_losses.alrp`).
        use_sigmoid: For mmdet's heads: one logit a class, none for the background.

    Raises:
        SuiteError: An option is out of range, or ``self_balance`` and ``w_r`` exclude each other.
    """

    def __init__(
        self,
        delta: float = 1.0,
        tau: float = 0.5,
        self_balance: bool = True,
        w_r: float | None = None,
        loss_weight: float = 1.0,
        all_ranks: bool = False,
        use_sigmoid: bool = True,
    ) -> None:
        fields = dict(delta=delta, tau=tau, self_balance=self_balance, w_r=w_r, loss_weight=loss_weight)
        check_fields({"type": "ALRPLoss", **fields}, "loss_cls")
        super().__init__()
        self.delta = delta
        self.tau = tau
        self.w_r = w_r
        self.loss_weight = loss_weight
        self.all_ranks = all_ranks
        self.use_sigmoid = use_sigmoid
        self.balance = SelfBalance() if self_balance else None

    @property
    def localisation_weight(self) -> Tensor | float:
        """Weight of the localisation term now."""
        if self.balance is not None:
            return self.balance.weight
        return 1.0 if self.w_r is None else self.w_r

    def forward(
        self,
        maps: list[Tensor],
        pairs: Tensor,
        localisation: Tensor,
        ignored: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Both terms of a batch.

        Args:
            maps: Logits, see :func:`~suite.detectors.ranking_losses.alrp`.
            pairs: Positions of the positives in the maps, shape (P,).
            localisation: Localisation loss of each positive over its range, in [0, 1], with gradient, shape
                (P,).
            ignored: Logits that do not take part.

        Returns:
            Classification and localisation term, weighted, float32 scalars.
        """
        loc = localisation.double() / (1 - self.tau)
        ranking = self.rank(maps, pairs, loc, ignored)
        term = (ranking.shares * loc).sum()
        if self.balance is not None and self.training:
            self.balance.add(ranking.loss.detach(), term.detach())
        weighted = (self.loss_weight * self.localisation_weight * term).float()
        return (self.loss_weight * ranking.loss).float(), weighted

    def rank(
        self, maps: list[Tensor], pairs: Tensor, loc: Tensor, ignored: list[Tensor] | None = None
    ) -> Ranking:
        """The ranking alone; arguments as :func:`~suite.detectors.ranking_losses.alrp`."""
        return alrp(maps, pairs, loc, delta=self.delta, ignored=ignored, all_ranks=self.all_ranks)

    def get_cls_channels(self, num_classes: int) -> int:
        """For mmdet's box heads: one logit a class."""
        return num_classes

    def get_activation(self, logits: Tensor) -> Tensor:
        """For mmdet's box heads: scores (m, C + 1), the last column, the background's, without meaning."""
        return torch.cat([logits.sigmoid(), logits.new_zeros(len(logits), 1)], dim=1)


@MODELS.register_module()
class APLoss(nn.Module):
    """AP Loss (Chen et al., CVPR 2019) as released with aLRP Loss; it trains classification alone.

    Args:
        delta: Half the width of the ramp that compares two logits.
        loss_weight: Factor of the loss.
        all_ranks: Rank the logits of all processes together.
        use_sigmoid: For mmdet's heads: one logit a class, none for the background.

    Raises:
        SuiteError: An option is out of range.
    """

    def __init__(
        self,
        delta: float = 1.0,
        loss_weight: float = 1.0,
        all_ranks: bool = False,
        use_sigmoid: bool = True,
    ) -> None:
        check_fields({"type": "APLoss", "delta": delta, "loss_weight": loss_weight}, "loss_cls")
        super().__init__()
        self.delta = delta
        self.loss_weight = loss_weight
        self.all_ranks = all_ranks
        self.use_sigmoid = use_sigmoid

    def forward(self, maps: list[Tensor], pairs: Tensor, ignored: list[Tensor] | None = None) -> Tensor:
        """The loss of a batch, a float32 scalar; arguments as of :class:`ALRPLoss`."""
        found = average_precision(maps, pairs, delta=self.delta, ignored=ignored, all_ranks=self.all_ranks)
        return (self.loss_weight * found.loss).float()
