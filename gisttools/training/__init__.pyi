from .batches import BatchPlan as BatchPlan
from .callbacks import DevelopmentScore as DevelopmentScore
from .loss import GISTLoss as GISTLoss, gist_loss as gist_loss
from .masked import audit as audit, masked_examples as masked_examples
from .model_card import write_card as write_card
from .retention import Retention as Retention
from .store import GuideStore as GuideStore
from .train import (
    TrainSettings as TrainSettings,
    choose_precision as choose_precision,
    development_from as development_from,
    finetune as finetune,
    loss_from as loss_from,
    retention_from as retention_from,
)
