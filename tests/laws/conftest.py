"""Profiles of property tests: `LAWS` is `ci` or `quick`, which are deterministic, or `long`: new seeds."""

import os

from hypothesis import HealthCheck, Phase, settings

ROUTINE = (Phase.explicit, Phase.generate, Phase.shrink)
settings.register_profile(
    "ci",
    max_examples=50,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    phases=ROUTINE,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=15)
settings.register_profile(
    "long",
    settings.get_profile("ci"),
    max_examples=1_000,
    stateful_step_count=100,
    derandomize=False,
    print_blob=True,
)
settings.load_profile(os.environ.get("LAWS", "ci"))
