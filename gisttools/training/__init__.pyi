from .batches import BatchPlan as BatchPlan
from .callbacks import DevelopmentScore as DevelopmentScore
from .cross_entropy import HeadOptions as HeadOptions, train_head as train_head
from .health import Trend as Trend
from .loss import GISTLoss as GISTLoss, gist_loss as gist_loss
from .masked import audit as audit, mask_quality as mask_quality, masked_examples as masked_examples
from .model_card import write_card as write_card
from .options import (
    Candidates as Candidates,
    LossOptions as LossOptions,
    MadeFrom as MadeFrom,
    MaskOptions as MaskOptions,
    Mix as Mix,
    RetentionOptions as RetentionOptions,
    TrainSettings as TrainSettings,
)
from .retention import Retention as Retention, read_texts as read_texts
from .store import GuideStore as GuideStore
from .train import (
    Trained as Trained,
    check_fit as check_fit,
    choose_precision as choose_precision,
    finetune as finetune,
    warn_unread as warn_unread,
)
