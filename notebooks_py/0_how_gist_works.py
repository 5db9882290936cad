# %% [markdown]
# # 0 · How GIST works
#
# **Question.** A model learns which texts belong together by pushing all others away. What if some of the others belong together too, and who can tell?
#
# This is the idea behind everything else here, in half an hour: on customer messages of an online shop, with pictures, without a network. You need to know what an embedding is: a model turns a text into a vector, and texts that mean the same lie close together. Closeness is the **cosine** of two vectors, 1 for the same direction, about 0 for nothing in common.

# %% [markdown]
# <details><summary>On Colab or Kaggle</summary>First run this in a cell of its own; WHEEL is the path of the wheel that you uploaded (docs/install.md):
# <pre>%pip install -q "WHEEL[offline]"
# !gisttools init .</pre></details>

# %% tags=["parameters"]
student = "embedded:wordllama-256"        # the model that learns: small and fast
guide = "embedded:all-MiniLM-L6-v2"       # the model that already knows something
labels = ["order_status", "damaged_item", "double_charge", "login_problem"]   # of the rows in the pictures
rows = 4                                  # of each of these labels
temperature = 0.05
margin = 0.0
steps = 40                                # of each training
seed = 42

# %%
import torch

from gisttools import GISTLoss, GuideStore, LossOptions, VectorCache, finetune, gist_loss, open_model, read_triplets
from gisttools.evaluation import Variant, evaluate, task_sources
from gisttools.report import lesson as draw
from gisttools.training import MaskOptions, TrainSettings, audit, mask_quality
from gisttools.workflow import resolve, start_lesson

scratch = start_lesson()
normalize = torch.nn.functional.normalize

# %% [markdown]
# ## 1 · A batch, and what is learnt from it
#
# The training data are **triplets**: an *anchor*, a *positive* that should lie near it, and a *negative* that should not. Here they are customer messages. Anchor and positive want the same thing from the shop (they have the same *label*), the negative wants another.
#
# A step of training looks at a batch of them. Below are a few rows of four intents that a good guide can tell apart.

# %%
table = read_triplets(resolve("data/support_intents/triplets.jsonl"))
store = GuideStore.build(table, VectorCache(guide))  # each text is embedded once, ever
frame = table.to_pandas()
batch = frame[frame["anchor_label"].isin(labels)].groupby("anchor_label").head(rows)
batch[["anchor_label", "anchor", "positive", "negatives"]]

# %% [markdown]
# ## 2 · False negatives
#
# One negative a row is little to learn from. So everyone uses a trick: *all other texts of the batch are taken for negatives as well*. They cost nothing, and a batch of 64 gives each anchor hundreds of them.
#
# But look at the table again. The positive of another row of the same label is no negative: it says what the anchor says. It is a **false negative**, and whoever pushes it away unlearns what was to be learnt.
#
# Nobody marks false negatives in real data, and there labels are often missing. But a second model, the **guide**, can look first. GIST's rule is one line: *what the guide finds nearer to the anchor than the anchor's own positive is not used as a negative.* With $g$ for the guide's cosine, the threshold of row $i$ is
#
# $$\theta_i = g(a_i, p_i), \qquad\text{and a candidate } c \text{ counts as a negative of } a_i \text{ only if}\quad g(a_i, c) \le \theta_i .$$
#
# This is all that the guide decides: which candidates count as negatives of which anchor. What is pulled together, the triplets say; and the guide itself learns nothing.
#
# These are candidates that the guide takes out, the clearest first. Would you have called them negatives?

# %%
found = audit(store, batch.index.tolist(), MaskOptions(mask_same_label=False))
found = found.query("block == 'ap' and masked_by == 'guide'")
found["above"] = found["guide_score"] - found["threshold"]
columns = ["anchor", "positive", "threshold", "candidate", "guide_score"]
found.nlargest(6, "above")[columns].round(2)

# %% [markdown]
# ## 3 · The guide's view, as a picture
#
# Each row of the picture is an anchor, each column the positive of a row; the darker, the more alike the guide finds them. The frames on the diagonal are the pairs that belong together. A cross is darker than the frame of its row, so it is taken out.
#
# Inside the squares of one label *every* cell off the diagonal is a false negative. Some have a cross. A circle is one that the guide did not see: its cosine lies under the threshold, because the row's own positive is very near. And crosses outside the squares are the guide's price: negatives that were true, and are lost.
#
# **How good is this guide?** The labels are the judge, for once. Two shares tell, and each has its price in training:
#
# - **Precision**: of what the guide takes out, the share that carries the anchor's label. The rest were true negatives: the student no longer learns from them.
# - **Recall**: of the candidates that carry the anchor's label, the share that the guide takes out. The rest are false negatives that stay: the student still pushes them away.
#
# The table has both, for three choices of rows. On these four intents most of what the guide takes out is rightly taken out. On four that are alike (cancelling, changing, returning, wrong items) and over all fourteen, where false negatives are rare, most of it is not: there it takes more true negatives than false ones. The recall is low everywhere: the own positive sets the threshold, and it was picked near, so most false negatives lie below.

# %%
alike = ["cancel_order", "change_order", "return_item", "wrong_item"]
sets = {"these labels": labels, "labels that are alike": alike, "all labels": sorted(set(frame["anchor_label"]))}
of_set = {name: frame.index[frame["anchor_label"].isin(some)].tolist() for name, some in sets.items()}
mask = MaskOptions(margin=margin)
print(draw.quality_table({n: mask_quality(store, mask, rows=r, batches=99) for n, r in of_set.items()}))
known = store.rows(torch.from_numpy(store.row_ids[batch.index]))
a, p, n = (normalize(x, dim=-1) for x in (known.anchor, known.positive, known.negatives[:, 0]))
threshold = (a @ p.T).diagonal()[:, None]
draw.guide_matrix(a @ p.T, a @ p.T > threshold - margin, batch["anchor_label"].tolist())

# %% [markdown]
# ## 4 · Four blocks of candidates
#
# GIST takes negatives from more than the other positives. There are four blocks, each held against the same threshold $\theta_i$:
#
# | block | candidate of row $i$ | guide's cosine |
# | --- | --- | --- |
# | ap | the positive of another row | $g(a_i, p_j)$ |
# | aa | the anchor of another row | $g(a_i, a_j)$ |
# | pp | the positive of another row, against the own positive | $g(p_i, p_j)$ |
# | an | the given negative of any row | $g(a_i, n_j)$ |
#
# Where the rows carry labels, there is no need to guess: a candidate with the anchor's label can be masked whatever the guide thinks. gisttools does so where there are labels (`mask_same_label`). Orange cells are those that only the labels catch.

# %%
guide_cosines = {"ap": a @ p.T, "aa": a @ a.T, "pp": p @ p.T, "an": a @ n.T}
candidate_column = {"ap": 1, "aa": 0, "pp": 1, "an": 2}  # of the ids of anchor, positive, negative
label = known.label_ids
same = {block: label[:, :1] == label[:, column] for block, column in candidate_column.items()}
draw.mask_blocks({block: g > threshold - margin for block, g in guide_cosines.items()}, same)

# %% [markdown]
# ## 5 · The loss, by hand
#
# Let $s$ be the *student's* cosine and $\tau$ the temperature. For each row, the loss asks how much of a softmax falls on the own positive, among all candidates that the mask lets count:
#
# $$
# L = -\frac1B \sum_i \log \frac{e^{s(a_i,p_i)/\tau}}{e^{s(a_i,p_i)/\tau} + \sum_{c\,\in\, C_i} e^{s(c)/\tau}},
# \qquad
# C_i = \{\,c \text{ of the four blocks} : g(c) \le \theta_i - m\,\}.
# $$
#
# $m$ is the *margin*, 0 in the paper. Only the student learns; the guide's numbers are fixed, which is why they can be computed once and kept.
#
# In code it is a table of cosines, a mask and a softmax. Four rows are enough to see it. `own` is a row's own anchor or positive, which never counts as its negative.

# %%
model, four = open_model(student), batch.iloc[[0, 1, rows, rows + 1]]
texts = [*four["anchor"], *four["positive"], *four["negatives"].str[0]]
A, P, N = model.encode(texts, convert_to_tensor=True, normalize_embeddings=True).cpu().split(4)  # student
known4 = store.rows(torch.from_numpy(store.row_ids[four.index]))
gA, gP, gN = (normalize(x, dim=-1) for x in (known4.anchor, known4.positive, known4.negatives[:, 0]))  # guide
s = torch.cat([A @ P.T, A @ A.T, P @ P.T, A @ N.T], dim=1)  # 4 rows, 16 columns: ap, aa, pp, an
g = torch.cat([gA @ gP.T, gA @ gA.T, gP @ gP.T, gA @ gN.T], dim=1)
own, others = torch.eye(4, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.bool)
masked = (g > g.diagonal()[:, None] - margin) | torch.cat([others, own, own, others], dim=1)

# %%
masked[own.nonzero(as_tuple=True)] = False  # the own positive is what is asked for
by_hand = -(s / temperature).masked_fill(masked, -torch.inf).log_softmax(dim=1).diagonal().mean()
guided = {"guide_anchor": gA, "guide_positive": gP, "guide_negatives": gN}
by_gisttools = gist_loss(A, P, N, **guided, temperature=temperature, margin=margin)
print(f"by hand {by_hand:.6f}, gist_loss {by_gisttools:.6f}, {int(masked.sum()) - 8} candidates masked")

# %% [markdown]
# ## 6 · Temperature and margin
#
# **The temperature** $\tau$ decides who is pushed. The gradient of the loss pushes candidate $c$ away in proportion to its share of the softmax. At a low temperature nearly all of the push goes to the few candidates nearest to the anchor, and exactly there the false negatives are. At a high one everything is pushed a little, and nothing is learnt about what is close. The picture shows the candidates of one anchor, as the student sees them before training.

# %%
sentences = [batch["anchor"].iloc[1], *batch["positive"]]         # one anchor, all positives
vectors = model.encode(sentences, convert_to_tensor=True, normalize_embeddings=True).cpu()
cosines = (vectors[1:] @ vectors[0])[torch.arange(len(batch)) != 1]   # all but its own
draw.temperatures({t: (cosines / t).softmax(dim=0) for t in (0.01, temperature, 0.3)}, cosines)

# %% [markdown]
# **The margin** $m$ moves the threshold. With $m > 0$ more is taken out: a candidate must lie clearly below the own positive to count. With $m < 0$ less. Over all training texts, and with their labels for once as the judge, the picture shows what each choice takes out: of the false negatives (good), and of all other candidates (a pity).
#
# No margin gets it all right. A guide is a second opinion, not the truth: where there are labels, they know better.

# %%
everyone = store.rows(torch.from_numpy(store.row_ids))
all_a, all_p = (normalize(x, dim=-1) for x in (everyone.anchor, everyone.positive))
cosines, of = all_a @ all_p.T, everyone.label_ids[:, 0]
above = cosines - cosines.diagonal()[:, None]  # masked if above > -m
same_label = (of[:, None] == of) & ~torch.eye(len(of), dtype=torch.bool)
m = torch.linspace(-0.3, 0.5, 41)
caught, lost = (torch.stack([(above[w] > -x).float().mean() for x in m]) for w in (same_label, of[:, None] != of))
draw.margins(m, caught, lost)

# %% [markdown]
# ## 7 · Does it matter? Four trainings
#
# The same student, and as many steps of 64. The first three see the same batches in the same order, and only their mask differs:
#
# - **unguided**: all other texts are negatives,
# - **GIST**: the guide takes out what it finds nearer than the own positive,
# - **GIST + labels**: and what carries the anchor's label is taken out too.
#
# A mask only stops the loss from pushing texts of one label apart. Labels can do more, and say which texts to pull together. With **labels as positives**
#
# - a batch is 64 texts, not 64 triplets: who was whose positive or negative in a triplet no longer counts,
# - *all* texts of one label in it are each other's positives, and the loss is a mean over them,
# - all texts of other labels are negatives, and only these stand below the line beside the positive: no text of the label is pushed away,
# - there is nothing left to guess, so no guide, no threshold and no margin.

# %%
unguided = GuideStore.build(table, None)
how = {"unguided": (unguided, "ignore"), "GIST": (store, "ignore"), "GIST + labels": (store, "mask")}
how["labels as positives"] = (unguided, "positive")
settings = TrainSettings(max_steps=steps, batch_size=64, learning_rate=1e-2, seed=seed)
models, common = {name: open_model(student) for name in how}, {"temperature": temperature, "margin": margin}
options = {name: LossOptions(same_label=same, **common) for name, (_, same) in how.items()}
losses = {name: GISTLoss(models[name], how[name][0], options[name]) for name in how}
trained = {name: finetune(losses[name], scratch / name, settings) for name in how}

# %% [markdown]
# mteb now scores the models on test texts that none of them has seen: a simple classifier on top of the vectors, ten times with a few examples each. The differences to the untrained student are taken text by text.
#
# **Why not compare the losses?** A loss tells how well the own positive stands out *among the candidates that count*, and each training counts others. Take candidates away, and the sum below the line in section 5 shrinks: the loss falls, and the model is the same. So a loss can be followed within one training; between trainings only test texts compare.

# %%
(task, *_) = task_sources(files=[resolve("data/support_intents")])
variants = [Variant(name=name, roles=(name,)) for name in how]
result = evaluate({"base": model, **models}, [task], scratch, variants=variants)
draw.trainings(list(trained), result.comparison)

# %% [markdown]
# **What to look at.** Training helps in any case; the mask adds to it, and here by no more than a point or two, which one seed and 280 texts cannot tell from luck: the intervals overlap. Labels as positives bring most, and with a third of the texts a step. How much the mask is worth depends on how many false negatives a batch holds, so on how many classes there are. Over all fourteen classes of these texts the guide is a poor judge, as the table in section 3 said. With two classes half of a batch is false negatives; with a thousand hardly any.
#
# **Things to try.** Change `labels`, `temperature` or `margin` at the top and run all again. What does `temperature = 0.01` do to the pictures, what a `margin` of 0.2?
#
# **When to leave the guide out.**
#
# - *Every text has a label*: take labels as positives of one another. `3_finetune` does so by itself.
# - *Its precision is low on your texts*: then it mostly takes true negatives away. Where some labels are known, `3_finetune` tells precision and recall.
# - *It does not read your language or your field*: what it does not know looks all alike to it. gisttools warns of unknown words.
# - *False negatives are rare*, as with a thousand classes: there is little to take out.
#
# Otherwise it is the best judge you have: for texts without labels, and for labels of which two mean the same. In doubt measure it: `gisttools run guided_vs_unguided` does, with several seeds.
#
# ## 8 · Exercise
#
# Two rows of a batch have *the same positive*: a text that was drawn twice. For the first row the copy is a candidate like any other, and it is the worst of all false negatives: it *is* the own positive.
#
# 1. What does the rule $g(a_i, c) \le \theta_i$ say about the copy?
# 2. Should the loss become larger or smaller when the copy is masked?
# 3. Build such a batch from the four rows above: copy row 0's positive to row 1, for student and guide. `gist_loss` knows equal texts by `text_ids`, one number a text, in the columns anchor, positive, negative. Compare the loss without and with them, at a margin of −0.001: then what is as near as the own positive counts for sure, on every computer.
#
# Try it in the empty cell below. The solution lies folded below it: click the triangle beside its heading when you have one of your own.

# %%

# %% [markdown] jp-MarkdownHeadingCollapsed=true
# ### Solution
#
# 1. The copy's cosine is exactly $\theta_i$. It is not larger, so the rule lets it count, and the text is pulled and pushed by the same row. On a computer it is worse: the two cosines may differ in the last bit, and rounding decides.
# 2. Smaller: a large term leaves the denominator, and nothing else changes.
# 3. Equal numbers mean equal texts: the copy is masked, whatever the cosines say. Set the margin back to 0 and rounding decides whether it counts without them.

# %%
P2, gP2 = P.clone(), gP.clone()
P2[1], gP2[1] = P[0], gP[0]
text_ids = torch.arange(12).reshape(4, 3)
text_ids[1, 1] = text_ids[0, 1]  # row 1's positive is row 0's
given = {"guide_anchor": gA, "guide_positive": gP2, "guide_negatives": gN}
options = {**given, "temperature": temperature, "margin": -0.001}
without, with_ids = gist_loss(A, P2, N, **options), gist_loss(A, P2, N, **options, text_ids=text_ids)
print(f"without text_ids {without:.4f}, with them {with_ids:.4f}")

# %% [markdown]
# ### What you have seen
#
# That is all there is to it: a second model looks at the batch first, and what it finds too near is not pushed away. `gist_loss` does it for batches of thousands in little memory; everything else here is about getting good triplets and about telling whether it helped.
#
# **Next:** `1_synthesize` writes triplets with a language model, `2_convert` makes them of labelled texts like these; `3_finetune` trains, `4_evaluate` tells what it brought. The method is from *GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding Fine-tuning* (A. V. Solatorio, [arXiv 2402.16829](https://arxiv.org/abs/2402.16829)).
