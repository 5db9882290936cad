# %% [markdown]
# # 8 · Read a folder of documents
#
# **Question.** What is in these documents, and in which pieces should a search find it?
#
# Text, Markdown, HTML, PDF and tables become chunks: parts of a document under one heading that the student reads whole. Lines that repeat over many documents and near copies are dropped. Some documents are held back, before anything is written on them: what is tested later was never trained on.

# %% [markdown]
# <details><summary>On Colab or Kaggle</summary>First run this in a cell of its own; WHEEL is the path of the wheel that you uploaded (docs/install.md):
# <pre>%pip install -q "WHEEL[offline]"
# !gisttools init .</pre></details>

# %% tags=["parameters"]
data = "data/handbook"                  # a folder or a file: .md, .txt, .rst, .html, .pdf, .csv, .jsonl, ...
student = "embedded:wordllama-256"      # the model that is to find the chunks: its tokens count
chunk_size = None                       # tokens; None: 256, or what the student reads
chunk_overlap = 0
test_share = 0.2                        # of the chunks, in whole documents; None: nothing is held back
sentences = 0                           # pairs of a sentence and its chunk to train on, without an LLM
encoding = None                         # of files that are not UTF-8, e.g. "cp1252"
text_column = None                      # of tables
seed = 0
# There are more: gisttools parameters read

# %%
from gisttools.data import save_sentence_pairs
from gisttools.report import figures, shown
from gisttools.workflow import start

run = start("read", globals())
p = run.params

# %%
read = run.chunks()
read.table().sample(min(8, len(read.chunks)), random_state=0).sort_index()

# %% [markdown]
# ## How long the chunks are
# In tokens of the student, headings included. Many short ones: headings with little below them.

# %%
figures.chunk_lengths([chunk.tokens for chunk in read.chunks])

# %% [markdown]
# ## What was left out
# Files that could not be read, or rows of tables without text, and why.

# %%
shown(read.left_out(), "Nothing was left out.")

# %% [markdown]
# ## Pairs that take no LLM
# A sentence in place of a question, and the chunk that it stands in. To be found again it asks little; a guide that teaches (`distill` in `3_finetune`) says how near it is to all other chunks, and that is what a student learns from it.

# %%
pairs = save_sentence_pairs(read, p.sentences, run.folder, seed=p.seed) if p.sentences else None
shown(pairs.to_pandas()[["anchor", "positive"]].head(5) if pairs else "None were asked for: sentences is 0.")

# %%
read.save(run.folder)
run.finish({**read.summary(), "sentences": len(pairs or [])}, headline=read.headline())

# %% [markdown]
# **What to look at.** Read some chunks: would you understand each without the rest of its document? If not, try another `chunk_size`, or `chunk_overlap`. **Next:** `1_synthesize` with this run as `documents`; the recipe `documents` does all steps.
