from .common import GistError as GistError
from .data import read_labelled as read_labelled, read_triplets as read_triplets, write_triplets as write_triplets
from .evaluation import evaluate as evaluate
from .guide import GuideStore as GuideStore
from .loss import GISTLoss as GISTLoss, gist_loss as gist_loss
from .mining import triplets_from_labelled as triplets_from_labelled
from .models import VectorCache as VectorCache, open_model as open_model
from .training import finetune as finetune
