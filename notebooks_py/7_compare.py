# %% [markdown]
# # 7 · Which variant is best, and did the guide help?
#
# **Question.** Of many trainings, which is best, by how much, what does each parameter do, and is guided training better than unguided?
#
# Trainings that differ in nothing but their seeds are one variant. Variants are compared with the same baseline and with one another on the same test items: seed by seed, draw by draw, text by text. With a single evaluation there is one variant, and its difference to the baseline.

# %% [markdown]
# <details><summary>On Colab or Kaggle</summary>First run this in a cell of its own; WHEEL is the path of the wheel that you uploaded (docs/install.md):
# <pre>%pip install -q "WHEEL[offline]"
# !gisttools init .</pre></details>

# %% tags=["parameters"]
evaluations = []     # evaluate runs; []: the newest and all that can be compared with it: same baseline, same tasks
task = None          # which task is scored; None: the mean of the targets

# %%
from IPython.display import Markdown

from gisttools.evaluation import leaderboard
from gisttools.report import Inline, effects_forest, variants_forest, write_sweep
from gisttools.workflow import start

run = start("compare", globals())
p = run.params

# %%
board = leaderboard(run.contenders(), task=p.task)
Markdown("\n\n".join(board.sentences()))

# %% [markdown]
# ## Leaderboard
# Points out of 100, means over seeds. `difference` is over the baseline, `behind` is to the best variant, each with its 95 % interval over seeds, draws and test items; `with_best` says that a variant is not distinguishable from the best.

# %%
board.shown()

# %%
variants_forest(board)

# %% [markdown]
# ## What each parameter does
# Differences between variants that are the same in all else, averaged over such pairs (`settings`). Interactions are not modelled.

# %%
board.effects_shown() if board.effects else "No parameter varies."

# %%
effects_forest(board)

# %%
page = write_sweep(board, run.folder)
run.finish(board.summary(), headline=board.headline())
Inline(page)

# %% [markdown]
# **What to look at.** The best variant was picked by the scores it is compared by, so its lead flatters it; what is not distinguishable from it may be as good, and cheaper. Not shown is not the same as not there: more seeds and more test items make intervals smaller. The page `leaderboard.html` in the run's folder holds all of it with the tables task by task. **Next:** `5_report` of the variant that you choose.
