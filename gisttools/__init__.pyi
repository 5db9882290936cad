from .common import GistError as GistError
from .data import read_labelled as read_labelled, read_triplets as read_triplets
from .mining import triplets_from_labelled as triplets_from_labelled
from .models import (
    Classifier as Classifier,
    VectorCache as VectorCache,
    open_model as open_model,
)
from .training import (
    GISTLoss as GISTLoss,
    GuideStore as GuideStore,
    LossOptions as LossOptions,
    finetune as finetune,
    gist_loss as gist_loss,
)
