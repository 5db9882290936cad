from .batches import BatchPlan as BatchPlan
from .callbacks import DevelopmentScore as DevelopmentScore
from .checks import check_fit as check_fit, warn_unread as warn_unread
from .class_batches import ClassPlan as ClassPlan
from .cross_encoder import train_reranker as train_reranker
from .cross_entropy import HeadOptions as HeadOptions, train_head as train_head
from .defaults import forgets as forgets
from .health import Trend as Trend
from .labelled import LabelledRows as LabelledRows
from .loss import GISTLoss as GISTLoss, gist_loss as gist_loss
from .masked import audit as audit, mask_quality as mask_quality, masked_examples as masked_examples
from .model_card import write_card as write_card
from .options import (
    Candidates as Candidates,
    LossOptions as LossOptions,
    MadeFrom as MadeFrom,
    MaskOptions as MaskOptions,
    Mix as Mix,
    RerankerOptions as RerankerOptions,
    RetentionOptions as RetentionOptions,
    TrainSettings as TrainSettings,
)
from .retention import Retention as Retention, general_texts as general_texts, read_texts as read_texts
from .soup import SHARES as SHARES, Average as Average, Soup as Soup, averaged as averaged, soup as soup
from .store import GuideStore as GuideStore
from .tracking import missing_tracker as missing_tracker
from .train import choose_precision as choose_precision, finetune as finetune
from .trained import Trained as Trained
