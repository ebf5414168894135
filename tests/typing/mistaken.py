"""A user's script with a mistake in each line that is marked, all of which a type checker must find; it is not run."""

from sinkgen import DPSinkhornGenerator, PrivacyLedger, accounting

gen = DPSinkhornGenerator(epsilon="hello")  # mistake
gen = DPSinkhornGenerator(mechanism=3)  # mistake
gen.sample(n_samples="many")  # mistake
gen.save(7)  # mistake
PrivacyLedger(epsilon="one")  # mistake
spent: str = gen.privacy_spent()  # mistake
accounting.calibrate(1.0, 1e-5, "all", 10)  # mistake
