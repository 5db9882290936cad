from .advice import Advice as Advice, Candidate as Candidate, Kind as Kind, Trade as Trade, advise as advise
from .candidate_scores import Candidates as Candidates, CandidateScore as CandidateScore
from .candidates import (
    SEARCHES as SEARCHES,
    Encoder as Encoder,
    Heads as Heads,
    find_candidates as find_candidates,
)
from .comparison import (
    POINT as POINT,
    Average as Average,
    Comparison as Comparison,
    ScoreRow as ScoreRow,
    Word as Word,
    average as average,
    averages as averages,
    comparison_table as comparison_table,
    judge as judge,
    overall_verdict as overall_verdict,
    read_comparisons as read_comparisons,
    read_rows as read_rows,
    targets_and_guards as targets_and_guards,
    to_table as to_table,
)
from .contenders import (
    Contender as Contender,
    Part as Part,
    Scored as Scored,
    ScoredOn as ScoredOn,
    Seeds as Seeds,
    differences as differences,
)
from .evaluating import Findings as Findings, Variant as Variant, evaluate as evaluate, overlap_with as overlap_with
from .exporting import Exported as Exported, ExportOptions as ExportOptions, Form as Form, export_model as export_model
from .gain import GainCurve as GainCurve, gain_curve as gain_curve
from .intervals import (
    Interval as Interval,
    Verdict as Verdict,
    crossed_interval as crossed_interval,
    draws_interval as draws_interval,
    metric_bootstrap as metric_bootstrap,
    spearman as spearman,
    verdict as verdict,
)
from .judging import (
    failed_targets as failed_targets,
    headline as headline,
    shown_word as shown_word,
    verdict_words as verdict_words,
)
from .maps import save_map as save_map
from .models import (
    BM25 as BM25,
    RANDOM as RANDOM,
    REGISTRY as REGISTRY,
    ScoredModel as ScoredModel,
    open_scored as open_scored,
    provider_of as provider_of,
    scored as scored,
    training_sets as training_sets,
)
from .mteb_files import MTEB_FOLDER as MTEB_FOLDER, renamed_results as renamed_results
from .options import EvaluateOptions as EvaluateOptions
from .published import PREFIX as PREFIX
from .ranking import (
    LEAST_SEEDS as LEAST_SEEDS,
    NO_VERDICT as NO_VERDICT,
    Effect as Effect,
    Grid as Grid,
    Leaderboard as Leaderboard,
    Ranked as Ranked,
    leaderboard as leaderboard,
)
from .reranking import Reranking as Reranking
from .scores import (
    ScoreCache as ScoreCache,
    fits as fits,
    kept_scores as kept_scores,
    one_line as one_line,
    score as score,
)
from .tasks import TaskSource as TaskSource, default_guards as default_guards, task_sources as task_sources
from .usage import (
    measured_lines as measured_lines,
    python_lines as python_lines,
    shell_lines as shell_lines,
)
from .variants import MODEL as MODEL
