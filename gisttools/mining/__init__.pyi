from .converting import convert as convert
from .miner import mine as mine, triplets_from_labelled as triplets_from_labelled
from .options import MiningOptions as MiningOptions
