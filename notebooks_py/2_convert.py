# %% [markdown]
# # 2 · Turn labelled texts into triplets
#
# **Question.** You have texts with labels. Which pairs of them teach an embedding the most?
#
# Every text becomes an anchor once. Its positive is another text of its class that the guide model finds near; its negative is a text of another class. This is the procedure of the GISTEmbed paper (`strategy = "gistembed"`); `"hard"` takes the nearest texts of other classes as negatives instead. Sets that already hold pairs or triplets are taken over as they are; with `"hard"` pairs, and queries with a corpus, get negatives. Whatever overlaps the texts you will evaluate on is left out.

# %% [markdown]
# <details><summary>On Colab or Kaggle</summary>First run this in a cell of its own; WHEEL is the path of the wheel that you uploaded (docs/install.md):
# <pre>%pip install -q "WHEEL[offline]"
# !gisttools init .</pre></details>

# %% tags=["parameters"]
sources = ["data/support_intents"]      # MTEB tasks, hub sets (org/name@revision), files, folders
subset = None                           # language of multilingual tasks, or configuration of a hub data set
text_column = None                      # where it is not one of the usual names
label_column = None
test_share = None                       # 0.2: hold back so much of a file that has no test part
guide = "embedded:all-MiniLM-L6-v2"
guide_revision = None
strategy = "gistembed"                  # or "hard"
negatives = 1
eval_tasks = None                       # what overlaps their test texts is left out; None: tasks among the sources
eval_files = None                       # the same, of folders and files; None: the test parts of the sources
seed = 1029
# There are more, for reading, mining, hygiene and guides: gisttools parameters convert

# %%
from gisttools.mining import convert
from gisttools.report import figures, shown
from gisttools.workflow import start

run = start("convert", globals())
p = run.params

# %%
checker = run.guide()
converted = convert(run.sources(), checker, reading=run.reading(), mining=run.mining(), threshold=p.threshold,
                    eval_sets=run.eval_sets(), tiers=run.tiers(checker))
shown(converted.table(), "There are no texts.")

# %% [markdown]
# ## The labels
# Classes of very different size teach the large ones best. Only the train split is read, at a pinned revision.

# %%
figures.class_balance([label for texts in converted.data for label in texts.labels])

# %% [markdown]
# ## Labels that look wrong
# Classes that the guide confuses, each text held against the centres of all classes but itself. Nothing is changed: merge or sharpen such labels yourself. More stands in `converted.noise`: equal texts under several labels, near copies, small classes.

# %%
figures.label_noise(converted.confused)

# %% [markdown]
# Texts that a classifier, fitted on others, would label otherwise, the most suspicious first. All of them stand in `labels_to_repair.csv`: change `new_label` there, or empty it to drop the text, and name the file as `relabel`.

# %%
shown(converted.repairs.head(8), "No label looks wrong.")

# %% [markdown]
# ## Left out: what overlaps the test texts
# `exact` is the same text but for case and spaces, `near` shares most of its letters, `semantic` says the same to the guide.

# %%
overlap = converted.overlap[["tier", "score", "eval_set", "text", "eval_text"]]
shown(overlap.drop_duplicates("text").head(8), "No text overlaps a test set.")

# %% [markdown]
# ## The triplets
# `guide_ap` is the guide's cosine of anchor and positive; a row is `live` if the guide lets its negative count (its cosine with the anchor is no higher).

# %%
table = converted.triplets.to_pandas()
table[["anchor", "positive", "negatives", "guide_ap", "live"]].sample(min(8, len(table)), random_state=0)

# %%
converted.save(run.folder)
run.finish(converted.summary, headline=converted.headline())

# %% [markdown]
# **What to look at.** A low share of live rows means that many negatives are nearer than the positives: labels overlap or are noisy. **Next:** `3_finetune`, which takes the newest run of this notebook or of `1_synthesize`; for both name them in its `triplets`.
