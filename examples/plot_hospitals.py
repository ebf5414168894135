"""
Three hospitals, one synthetic table
====================================

Three hospitals keep their registers. None of them shows a record, or a sum without noise, to the others or to whoever
runs the fit; what comes out is one synthetic table of all patients, with the guarantee that a pooled fit would have.

The registers are made up here, so that this page needs no download; nothing below knows how they were made.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sinkgen import DPSinkhornGenerator, Schema, federated


def register(n, mean_age, seed):
    """A made-up register: the hospitals' patients differ in age."""
    random = np.random.default_rng(seed)
    age = random.normal(mean_age, 14, n).clip(18, 100).round().astype(int)
    ward = random.choice(["heart", "surgery", "general"], n, p=[0.3, 0.3, 0.4])
    stay = random.poisson(np.where(ward == "heart", 6, 3) + age / 40).clip(0, 60)
    back = random.random(n) < 1 / (1 + np.exp(4 - 0.03 * age - 0.15 * stay))
    return pd.DataFrame({"age": age, "ward": ward, "stay": stay, "back": np.where(back, "yes", "no")})


records = {"north": register(3000, 45, 0), "south": register(2000, 60, 1), "west": register(4000, 75, 2)}

# %%
# Each hospital makes a key, and tells the others its public part: by telephone, in a contract, but not by way of
# whoever runs the fit. Then it says what it agrees to: how much its records may cost, and that the noise has to protect
# them even if one of the others tells the coordinator everything.
keys = {name: federated.new_private_key() for name in records}
public = {name: federated.public_key(key) for name, key in keys.items()}
owners = [
    federated.Owner(name, frame, "back", key=keys[name], peers=public, epsilon=1, colluding=1)
    for name, frame in records.items()
]

# %%
# The coordinator has no records. It knows the columns, from a row that is made up, and what the hospitals' forms say
# about them. Messages are bytes: here they stay in this process; :class:`~sinkgen.federated.Folder` carries them by
# way of a folder that all can reach.
template = pd.DataFrame({"age": [50], "ward": ["heart"], "stay": [3], "back": ["no"]})
hospitals = federated.Federation(federated.InProcess(owners), public, template, "back", colluding=1)
schema = Schema({"age": (18, 100), "ward": ["heart", "surgery", "general"], "stay": (0, 60)})
gen = DPSinkhornGenerator(epsilon=1, schema=schema, classes=["no", "yes"], random_state=0).fit(hospitals)
print(gen.privacy_spent())

# %%
# Nobody has ever held the table that the lines show; here all three can be laid beside what was made of them.
synthetic, back = gen.sample(9000, random_state=0)
pooled = pd.concat(records.values())
figure, (ages, returns) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for name, frame in records.items():
    ages.hist(frame["age"], bins=range(18, 102, 4), histtype="step", label=name)
ages.hist(synthetic["age"], bins=range(18, 102, 4), color="0.8", label="synthetic, all three")
ages.set(xlabel="age", ylabel="patients")
ages.legend()
decades = np.arange(20, 100, 10)
for frame, came_back, label in ((pooled, pooled["back"], "real"), (synthetic, back, "synthetic")):
    share = pd.Series(np.asarray(came_back) == "yes").groupby(np.asarray(frame["age"]) // 10 * 10).mean()
    returns.plot(share.index, share, marker="o", label=label)
returns.set(xlabel="age, decade", ylabel="share who come back")
returns.legend()
plt.show()
