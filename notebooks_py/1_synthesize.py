# %% [markdown]
# # 1 · Write training data with a language model
#
# **Question.** How far does a task description and a language model get us, and how much of what the model writes is any good?
#
# A plan, drawn in code, says what every call is asked for: a label, a tone, a length, a writer, so that all of them are balanced. What comes back passes filters, and triplets are made of what is left: an anchor, a positive, a negative. Rounds of calls go on until every label has its rows or its calls are used up. What is rejected is kept with its reason.

# %% [markdown]
# <details><summary>On Colab or Kaggle</summary>First run this in a cell of its own; WHEEL is the path of the wheel that you uploaded (docs/install.md):
# <pre>%pip install -q "WHEEL[offline]"
# !gisttools init .</pre></details>

# %% tags=["parameters"]
task = "prompts/tasks/support_intents.yaml"     # more in prompts/tasks: retrieval, sts, clustering, ...
texts = []                                      # files of texts that an LLM wrote elsewhere, in place of asking one
rows = 14                                       # accepted rows wanted, equally many of each label
attempts = 3.0                                  # calls for each of them, at most
llm_base_url = "embedded"                       # or any OpenAI-compatible endpoint
llm_model = "embedded:SmolLM2-135M-Instruct"    # or the model's name there, or a GGUF file
llm_key_variable = "OPENAI_API_KEY"             # environment variable that holds the key
temperature = 0.8
max_tokens = 400
concurrency = 4
guide = "embedded:all-MiniLM-L6-v2"             # checks labels and similarities
guide_revision = None
eval_files = ["data/support_intents"]           # their test texts must not occur
labelled_files = ["data/support_intents"]       # real texts, to compare diversity with
seed = 7
dry_run = False                                 # a few calls only: what would all of it take?
# There are more, of prompts, filters, budget, limits and replay: gisttools parameters synthesize

# %%
from gisttools.report import figures, shown
from gisttools.synthesis import generate, sift
from gisttools.workflow import start

run = start("synthesize", globals())
p = run.params

# %% [markdown]
# ## The task
# One line says what each label means; `confusable` names the labels a reader might mix it up with. Seeds are a few real texts from the train split.

# %%
task_description = run.task()
task_description.table()

# %% [markdown]
# ## Ask
# The embedded model is a real LLM behind a real HTTP API, only a very small one (135 M parameters). Any other endpoint works the same way: set `llm_base_url` and `llm_model`. The first eight calls tell what all of them will take.
#
# Texts that some LLM wrote elsewhere go the same way from here on, and nobody is asked: name their files in `texts`.

# %%
judging = {"checks": run.checks(), "known": run.known()}
with run.llm() as llm:
    outcome = (
        sift(run.written(), run.guide(), task_description, llm=llm, seed=p.seed, prompts=run.prompts, **judging)
        if p.texts
        else generate(task_description, llm, run.guide(), run.options(), **judging)
    )
outcome = run.looked_through(outcome)
run.save(outcome)
outcome.bill().to_frame("")

# %% [markdown]
# ## What was kept, what was not, and why
# `guide_ap` and `guide_an` are the guide's cosines of the anchor with its positive and its negatives. A negative that is nearer than the positive would be masked by the GIST loss, and paid for in vain.

# %%
columns = ["anchor_label", "anchor", "positive", "negatives", "guide_ap", "guide_an"]
outcome.accepted.to_pandas()[columns].head(8)

# %%
shown(outcome.rejects(each=2), "Nothing was rejected.")

# %%
figures.accept_reject(outcome.summary)

# %% [markdown]
# ## For which labels does it work?
# The share of texts that passed, by label and by what the plan asked for, the lowest first.

# %%
figures.acceptance(outcome.summary)

# %%
figures.confusion(outcome.summary)

# %% [markdown]
# ## Are the texts different?
# `distinct_1` and `distinct_2` are the shares of different words and pairs of words, `similarity` the guide's mean cosine of two texts, next to equally many real ones. Written texts that are alike teach the same thing many times.

# %%
outcome.diversity()

# %% [markdown]
# ## Which kinds of texts are missing?
# The real texts of each label are put into clusters by the guide. `covered` is how many of them a written text falls into, and `missed` shows a real text of those that none does: ask for these next, by seeds or in the label's line. Few written texts cannot reach many clusters.

# %%
shown(outcome.coverage(), "No real texts of these labels are at hand.")

# %%
outcome.refuse_nothing()
run.finish(outcome.summary, headline=outcome.headline(), missing=outcome.missing())

# %% [markdown]
# **What to look at.** `browse.html` in the run's folder shows every row, with a search. A high share of `label-mismatch` rejects means that the model does not hold on to the label: sharpen the one-line descriptions, add seeds, or use a larger model, with the prompt `classification_from_ideas`. **Next:** `3_finetune`, which takes the newest run of this notebook or of `2_convert`; for both name them in its `triplets`.
