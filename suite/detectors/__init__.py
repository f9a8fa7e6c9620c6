"""What the papers propose, registered in mmdet's registries; importing this package registers all of it."""

from suite.detectors.alrp_loss import ALRPLoss, APLoss, SelfBalanceHook
from suite.detectors.free_anchor_head import FreeAnchorHead
from suite.detectors.giou import StrideGIoULoss
from suite.detectors.iou_matching import CentredIoUAssigner
from suite.detectors.ltm_af_head import LTMAFHead
from suite.detectors.ltm_head import LTMHead
from suite.detectors.one_anchor_head import OneAnchorHead
from suite.detectors.paa_head import BatchedPAAHead
from suite.detectors.points import StrideDistanceBBoxCoder, StridePointGenerator
from suite.detectors.ranking_heads import (
    RankingBBoxHead,
    RankingFoveaHead,
    RankingRetinaHead,
    RankingRPNHead,
)
from suite.detectors.topk_assigner import TopKIoUAssigner

__all__ = [
    "ALRPLoss",
    "APLoss",
    "BatchedPAAHead",
    "CentredIoUAssigner",
    "FreeAnchorHead",
    "LTMAFHead",
    "LTMHead",
    "OneAnchorHead",
    "RankingBBoxHead",
    "RankingFoveaHead",
    "RankingRPNHead",
    "RankingRetinaHead",
    "SelfBalanceHook",
    "StrideDistanceBBoxCoder",
    "StrideGIoULoss",
    "StridePointGenerator",
    "TopKIoUAssigner",
]
