# %% [markdown]
# # 6 · How many rows are worth paying for?
#
# **Question.** What does more training data bring, what does it cost, and from where on does more of it no longer pay?
#
# The same student was trained on nested subsets of the same rows, each size with several seeds, and every model was scored on the same test items against the same baseline. So sizes are compared seed by seed and item by item.

# %% [markdown]
# <details><summary>On Colab or Kaggle</summary>First run this in a cell of its own; WHEEL is the path of the wheel that you uploaded (docs/install.md):
# <pre>%pip install -q "WHEEL[offline]"
# !gisttools init .</pre></details>

# %% tags=["parameters"]
evaluations = []     # evaluate runs; []: the newest of a finetune run with a limit, and those that differ in size
task = None          # which task is drawn; None: the mean of the targets

# %%
from gisttools.evaluation import gain_curve
from gisttools.report import figures, shown
from gisttools.workflow import start

run = start("cost_to_gain", globals())
p = run.params

# %% [markdown]
# ## Sizes
# Points out of 100. `gain` is over the baseline, `step` over the size before, each with its 95 % interval over seeds and test items; `seed_sd` is the standard deviation of the score over seeds. The dollars include what the filters rejected.

# %%
curve = gain_curve(run.trainings(), task=p.task)
curve.shown()

# %% [markdown]
# ## Score by rows
# More rows no longer pay after the smallest size that no larger one is shown to beat. Sizes beyond it are hollow.

# %%
by_rows = figures.score_by_rows(curve)
run.path("curve.svg").write_text(figures.to_svg(by_rows), encoding="utf-8")
by_rows

# %%
shown(curve.caveat() or curve.verdict())

# %% [markdown]
# ## Score by dollars

# %%
by_cost = figures.score_by_cost(curve)
curve.priced and run.path("dollars.svg").write_text(figures.to_svg(by_cost), encoding="utf-8")
by_cost

# %%
curve.save(run.folder)
run.finish(curve.summary(), headline=curve.headline())

# %% [markdown]
# **What to look at.** Not shown is not the same as not there: the line under the picture says how large a gain may still hide. More seeds and more test items make it smaller. Where more rows still pay at the largest size, ask for more. The curve speaks of these rows, this student and this training; another order of the rows is another `limit_seed`. **Next:** train on the smallest size that is as good as the largest (`limit` of `3_finetune`), or write more rows with `1_synthesize`.
