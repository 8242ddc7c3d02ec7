"""A property is judged by its answer, never by the time it took: the machine is shared."""

import os

from hypothesis import Phase, settings

settings.register_profile("domain", deadline=None)
# Whether a mutant dies is asked, not by which smallest example: nothing is shrunk.
settings.register_profile("quick", deadline=None, max_examples=15, phases=(Phase.explicit, Phase.generate))
settings.register_profile("deep", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("DUNLIN_TEST_DEPTH", "domain"))
