from . import miner as miner, neighbours as neighbours, noise as noise
from .converting import convert as convert
from .miner import mine as mine, triplets_from_labelled as triplets_from_labelled
from .options import MiningOptions as MiningOptions
