# %% [markdown]
# # 4 · Is the tuned model better?
#
# **Question.** By how much did the model change on the task, and could that be luck?
#
# mteb runs every task on all models with the same draws. They are scored on the same texts, so the difference is taken text by text, and its 95 % interval covers other texts and other draws; of several training seeds other seeds as well. Scores are kept: an evaluation that was stopped goes on with the task it was at.

# %% [markdown]
# <details><summary>On Colab or Kaggle</summary>First run this in a cell of its own; WHEEL is the path of the wheel that you uploaded (docs/install.md):
# <pre>%pip install -q "WHEEL[offline]"
# !gisttools init .</pre></details>

# %% tags=["parameters"]
# `gisttools parameters evaluate` lists all
model = "latest"                           # newest run of 3, else a demo; run, folder, hub model, a list of them
model_revision = None
baseline = None                            # None: the student that the finetune run started from
baseline_revision = None
tasks = []                                 # mteb tasks, e.g. ["Banking77Classification", "MTEB(eng, v2)"]
files = ["data/support_intents"]           # folders of your own files; of any kind of task
guards = None                              # mteb tasks that must not get worse; None: STSBenchmark where it is in reach
references = []                            # to compare with: "guide", "bm25", "random", other models
subsets = None                             # languages of multilingual tasks, e.g. ["en"]
allow_overlap = False                      # True: compare although the training table holds test texts
batch_size = 64
seed = 0

# %%
from gisttools.evaluation import evaluate, save_map
from gisttools.report import figures, shown
from gisttools.workflow import start

run = start("evaluate", globals())
p = run.params

# %%
sources, notes = run.tasks()
entries = run.entries()
result = evaluate(entries.models, sources, run.folder, variants=entries.variants, references=entries.references,
                  options=run.options())
result = result.with_candidates(run.candidates(entries, sources))
result, told = result.with_published(entries.published)
result.save(run.folder)
shown(result.headline())

# %% [markdown]
# ## Which model to use
# Every way to do the targets: scores are of a classifier fitted on all train labels, `few_shot` is mteb's, fitted on a few texts a class. `difference` is to the best, with an interval that holds for all candidates at once.

# %%
shown(result.candidate_table(), "No candidates were asked for.")

# %% [markdown]
# ## Scores
# `overlap` counts test texts that also stand in the training table, or nearly; such a comparison is refused unless `allow_overlap` is set. `trained_on` says whether the task's own train split was used. `p_holm` is corrected for there being several tests.

# %%
shown(result.table(), "Nothing could be scored.")

# %%
figures.forest(result.comparison)

# %% [markdown]
# ## Averages
# Over these very tasks: by kind and over all; where they differ also over targets, and without tasks that a model was trained on.

# %%
shown(result.beside("averages"), "One task needs no average.")

# %% [markdown]
# ## Compared with others
# Scores of `references`, and what could not be scored.

# %%
shown(result.beside("references"), "There are no references.")

# %%
shown(result.failed, "Nothing failed.")

# %% [markdown]
# ## Which classes moved

# %%
base, tuned = (entries.models[role].transformer for role in ("base", "tuned"))
save_map(result.items, base, tuned, run.path("embedding.parquet"), p.seed)
figures.per_class(result.items)

# %%
summary = result.summary(entries.models, entries.names, notes + told)
run.finish(summary, headline=result.headline(), missing=result.missing())

# %% [markdown]
# **What to look at.** An interval that covers zero means: not shown, whichever way the point lies. **Next:** `5_report`, which takes the newest run of this notebook.
