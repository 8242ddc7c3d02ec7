"""Every timeout and retry of the workflows, by name."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio.common import RetryPolicy

# One step of a subscription: two short transactions and at most a look-up and a call at the gateway.
STEP_TIMEOUT: Final = timedelta(seconds=60)
# A worker that was killed is missed after this long; `activities.alive` sends a sign of life more often.
STEP_HEARTBEAT: Final = timedelta(seconds=10)
# What fails here is our own machine (database away) or a bug: declines and outages are values. A few quick tries,
# then the workflow shows its trouble and tries again by the clock.
STEP_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=2), maximum_attempts=3
)
TROUBLE_RETRY_AFTER: Final = timedelta(seconds=30)

# One page of a billing run or an import: many subscriptions, with heartbeats. After so many tries it shows its trouble
# (`workflows.trouble.persist`) and goes on by the clock, as do gateway's events and transfers below.
PAGE_TIMEOUT: Final = timedelta(minutes=10)
PAGE_HEARTBEAT: Final = timedelta(seconds=60)
# An import is watched by a person: what a dead worker had in hand is taken up soon.
IMPORT_HEARTBEAT: Final = timedelta(seconds=20)
PAGE_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1), maximum_attempts=5
)
PAGES_PER_RUN_MAX: Final = 50

# A run of a subscription: waking up cold costs the replay of its run, so it ends after so many steps. A smaller number
# wakes faster and continues as new more often (`docs/performance.md`).
STEPS_PER_RUN_MAX: Final = 6
# While its clock is moved a run must not end (decision 5), unless it nears the server's limit of 51,200 events.
TRAVEL_EVENTS_MAX: Final = 20_000

# A gateway's event: some short statements. What it asks of a subscription takes as long as a command may.
EVENT_TIMEOUT: Final = timedelta(seconds=30)
CONSEQUENCE_TIMEOUT: Final = timedelta(minutes=2)
EVENT_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(minutes=1), maximum_attempts=6
)

# A transfer of credit has money in transit: it is tried until it has arrived or is back where it came from.
TRANSFER_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(minutes=1), maximum_attempts=7
)
# One short transaction that a caller waits for; what cannot be written for so long is a fault of ours.
BOOKS_RETRY: Final = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5))
BOOKS_GIVEN_UP_AFTER: Final = timedelta(minutes=5)

# The timer is set before the request that opens the task is through; one that never comes through leaves no task.
REMINDER_LOOK_AFTER: Final = timedelta(seconds=5)
REMINDER_LOOKS_MAX: Final = 24

# A parcel: two short transactions and a call at the provider.
FULFILMENT_TIMEOUT: Final = timedelta(seconds=90)
LOOKS_PER_RUN_MAX: Final = 200
# A file of parcels, or of tracking numbers: some hundred short transactions that a caller waits for.
BATCH_TIMEOUT: Final = timedelta(minutes=2)
