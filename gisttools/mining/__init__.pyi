from .card import DataCard as DataCard, data_card as data_card
from .converting import Converted as Converted, convert as convert
from .miner import (
    Mined as Mined,
    mine as mine,
    mine_labelled as mine_labelled,
    triplets_from_labelled as triplets_from_labelled,
)
from .negatives import (
    MinedNegatives as MinedNegatives,
    mine_negatives as mine_negatives,
    with_hard_negatives as with_hard_negatives,
)
from .noise import label_noise as label_noise
from .options import MiningOptions as MiningOptions
from .repairs import labels_to_repair as labels_to_repair
