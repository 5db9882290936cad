# %% [markdown]
# # 5 · One page for whoever decides
#
# **Question.** Did it help, by how much, how sure are we, what did it cost, and what is it made of?
#
# The report follows one evaluation back through everything that led to it: the fine-tuning, the triplets, the texts. Of several evaluations, as a sweep leaves them, it is a leaderboard: which recipe is best, what each parameter does, whether the guide helped.

# %% [markdown]
# <details><summary>On Colab or Kaggle</summary>First run this in a cell of its own; WHEEL is the path of the wheel that you uploaded (docs/install.md):
# <pre>%pip install -q "WHEEL[offline]"
# !gisttools init .</pre></details>

# %% tags=["parameters"]
evaluation = "latest"      # an evaluate run, "latest" is the newest; a list: the leaderboard of a sweep
latex = False              # True: write the scores of one evaluation as a LaTeX table too, table.tex

# %%
from gisttools.report import Inline
from gisttools.workflow import start

run = start("report", globals())

# %%
pages = run.write_pages()

# %%
pages.picture

# %%
Inline(pages.page, pages.text)

# %%
run.finish(pages.summary, headline=pages.headline)

# %% [markdown]
# **What to look at.** The page above is `report.html` in the run's folder: open it, or hand it on, for it needs nothing else. Read it from the top: the sentence, the intervals, the checks. *Not shown* means that luck would explain the difference, whichever way the point lies. A check that is not green says what to distrust. **Next:** the page's own next step; `6_cost_to_gain` if more rows could pay, `7_compare` if there is more than one recipe to choose from.
