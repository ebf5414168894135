"""
Cross-validation, and what it costs
===================================

Train on synthetic, test on real: :class:`~sinkgen.TSTRClassifier` is a classifier whose ``fit`` makes synthetic
records first and trains on these alone. In ``cross_val_score`` it measures what the synthetic data are good for, and
the model that it gives is private.

But every fold is a fit, every fit looks at the records, and what five looks tell together is more than what one tells.
A :class:`~sinkgen.PrivacyLedger` keeps the books.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sinkgen import BudgetExceededError, DPSinkhornGenerator, PrivacyLedger, TSTRClassifier

X, y = load_digits(return_X_y=True)
folds = StratifiedKFold(5, shuffle=True, random_state=0)

# %%
# One ledger for all that touch the same records, with a budget that it will not let anyone exceed. The generator's
# clones, one a fold, all share it. A scaler goes inside the classifier, where it sees synthetic records only.
ledger = PrivacyLedger(epsilon=17, delta=1e-5)
gen = DPSinkhornGenerator(
    epsilon=6, schema=(0, 16), image_shape=(8, 8), classes=range(10), ledger=ledger, random_state=0
)
forest = RandomForestClassifier(200, random_state=0)
synthetic = cross_val_score(TSTRClassifier(gen, forest, random_state=0), X, y, cv=folds)
real = cross_val_score(forest, X, y, cv=folds)
print(f"forest trained on synthetic digits: {synthetic.mean():.1%}, on real ones: {real.mean():.1%}\n")
print(*str(ledger).splitlines()[:10], sep="\n")

# %%
# Five fits of epsilon 6 are not 6, and not 30: their noise is independent, and composition takes account of that. After
# each fold:
entries = list(ledger)
spent = []
for count in range(1, len(entries) + 1):
    so_far = PrivacyLedger()
    for entry in entries[:count]:
        so_far.charge(entry.releases, what=entry.what)
    spent.append(so_far.total(delta=1e-5).epsilon)
print([round(epsilon, 1) for epsilon in spent])

# %%
# A sixth look is refused before anything of it is released: the ledger's budget would not hold it.
try:
    gen.fit(X, y)
except BudgetExceededError as error:
    print(error)
else:
    raise AssertionError("the ledger must refuse")

# %%
# What costs nothing is another model on the same releases. Each further classifier below is trained on what one fitted
# generator draws; only the test on real records is not private, and that is for those who hold them.
alone = DPSinkhornGenerator(epsilon=6, schema=(0, 16), image_shape=(8, 8), classes=range(10), random_state=0)
train, test = next(folds.split(X, y))
X_new, y_new = alone.fit(X[train], y[train]).sample(2000, random_state=0)
models = {
    "forest": forest,
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
}
for name, model in models.items():
    print(f"{name:<10} {model.fit(X_new, y_new).score(X[test], y[test]):.1%}, no further cost")

# %%
figure, (bars, books) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
fold = np.arange(1, 6)
bars.bar(fold - 0.2, real, 0.4, color="0.7", label="trained on real digits")
bars.bar(fold + 0.2, synthetic, 0.4, color="C0", label="trained on synthetic digits")
bars.set(xlabel="fold", ylabel="accuracy on real digits", ylim=(0, 1.25), yticks=np.linspace(0, 1, 6))
bars.legend(frameon=False, ncols=2, loc="upper center")

books.plot(fold, 6 * fold, "o--", color="0.6", label="adding up epsilons")
books.plot(fold, spent, "o-", color="C0", label="the ledger")
books.plot(fold, [6] * 5, "o:", color="C3", label="what the last fit alone says")
books.axhline(17, color="0.2", linewidth=1)
books.annotate("budget", (0.9, 17.5))
books.set(xlabel="folds fitted", ylabel="epsilon spent (delta 1e-5)", xticks=fold, ylim=(0, 32))
books.legend(frameon=False)
plt.show()
