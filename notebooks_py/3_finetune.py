# %% [markdown]
# # 3 · Fine-tune a student under a guide
#
# **Question.** What does the student learn from these triplets, and how much of each batch does the guide take out as false negatives?
#
# In a batch every other text is a candidate negative. Some of them are not negative at all. The guide model looks first: a candidate that it finds closer to the anchor than the anchor's own positive is masked. So is a candidate that carries the anchor's label or equals its texts. Where every row has a label, there is nothing to guess: texts of one label are each other's positives, and all others negatives (`train_on`).

# %% [markdown]
# <details><summary>On Colab or Kaggle</summary>First run this in a cell of its own; WHEEL is the path of the wheel that you uploaded (docs/install.md):
# <pre>%pip install -q "WHEEL[offline]"
# !gisttools init .</pre></details>

# %% tags=["parameters"]
triplets = ["latest"]                                # newest run of 1 or 2, else a demo; files, runs, hub sets
student = "embedded:wordllama-256"
student_revision = None
guide = "embedded:all-MiniLM-L6-v2"                  # None: the unguided baseline
guide_revision = None
loss_temperature = 0.05
margin = 0.0
train_on = None                                      # None: labelled texts where every row has a label, else triplets
epochs = None                                        # None: by student and rows; 10 for a static one
max_steps = None
batch_size = 64
learning_rate = None                                 # None: by the kind of student; 1e-2 for a static one
dev = []                                             # folders with a dev file, mteb tasks
seed = 42
# There are more, for several sets, memory, LoRA, stopping early...: gisttools parameters finetune

# %%
from gisttools import GISTLoss, GuideStore
from gisttools.data import concatenate, number_sets
from gisttools.report import figures, quality_words, shown
from gisttools.training import LossOptions, TrainSettings, finetune, write_card
from gisttools.workflow import start

# %%
run = start("finetune", globals())
p = run.params

# %%
tables = run.tables()   # all rows, where there is no limit
table, sets = concatenate(tables), number_sets(tables, p.group_by)
some = table.shuffle(seed=0).select(range(min(5, len(table)))).to_pandas()
some[["anchor", "positive", "negatives", "source"]]

# %% [markdown]
# ## The guide's vectors
# The guide embeds each text once, ever; the vectors stay on disk and later runs reuse them.

# %%
student = run.student(table)
store = GuideStore.build(table, run.guide())
reranker = run.reranker(table)   # a cross-encoder on the same rows, where one was asked for

# %% [markdown]
# ## Training

# %%
loss = GISTLoss(student, store, p.part(LossOptions, temperature=p.loss_temperature))
trained = finetune(loss, run.path("model"), p.part(TrainSettings), set_of_row=sets, retention=run.retention(loss),
                   development=run.development(), checkpoints=run.checkpoints, soup=run.soup())
figures.loss_curve(trained.history, trained.development)

# %% [markdown]
# ## What met what
# With triplets there are four blocks of candidates: other positives (ap), other anchors (aa), positives against positives (pp), and the given negatives (an). The higher a line, the more of that block was masked, for it would have been a false negative. Where every row has a label, texts of one label are each other's positives instead, and there is nothing to mask.

# %%
met = trained.met()
shown(met) if met else figures.masked_shares(trained.history)

# %% [markdown]
# Some of what was masked, of a few batches: the guide's cosine of anchor and candidate, the threshold that it had to stay under, and why the candidate was masked. Where labels are known, `precision` is the share of what the guide masks that carries the anchor's label, and `recall` the share of candidates of that label that it masks.

# %%
examples, quality = trained.masked_examples(), trained.mask_quality()
examples.to_parquet(run.path("masked_examples.parquet"))
print(quality_words(quality) or "How right a mask is can be told where a guide masks and labels are known.")
shown(examples.head(8), "Nothing was masked.")

# %%
trained.history.to_parquet(run.path("history.parquet"))
write_card(trained, p)
told = {"mask_quality": quality, "reranker": reranker}
run.finish({**trained.summary(p), **run.rows_cost(tables), **told}, headline=trained.headline())

# %% [markdown]
# **What to look at.** A loss that still falls at the end asks for more epochs. With triplets, a share masked near 0 means the guide finds nothing to mask (or was given as `None`); near 1, that little is left to learn from. **Next:** `4_evaluate` which takes the newest run of this notebook. Anywhere else: `SentenceTransformer("results/<run>/model")`.
