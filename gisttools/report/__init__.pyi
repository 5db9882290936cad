from . import (
    checks as checks,
    figures as figures,
    lesson as lesson,
    provenance as provenance,
    tables as tables,
    verdict as verdict,
)
from .browse import write_browser as write_browser
from .cells import shown as shown
from .data import ReportData as ReportData, collect as collect
from .figures import forest as forest
from .hub_card import model_card as model_card, used_model_card as used_model_card, with_name as with_name
from .page import Inline as Inline
from .provenance import quality_words as quality_words
from .render import write_report as write_report
from .sweep import (
    TEXT as TEXT,
    effects_forest as effects_forest,
    leaderboard_text as leaderboard_text,
    variants_forest as variants_forest,
    write_sweep as write_sweep,
)
from .verdict import headline as headline
