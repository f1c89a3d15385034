"""Names of what is counted. Each belongs to one variant, one instance and one minute.

Routers count all but the last group, which is control's. `candidates` to `mirrored` stand on the
shadow variant: candidates are production requests that could have been mirrored, sampled those that
the draw chose; sampled = mirrored + all dropped. Candidates that are neither sampled nor
`opted_out` were not drawn.
"""

from typing import Literal, get_args

INVOCATIONS = "invocations"
INVOCATIONS_PER_INSTANCE = "invocations_per_instance"
ERRORS_4XX = "errors_4xx"
ERRORS_5XX = "errors_5xx"
MODEL_ERRORS = "model_errors"
CANDIDATES = "candidates"
SAMPLED = "sampled"
MIRRORED = "mirrored"
DROPPED_PREFIX = "dropped."
# Candidates whose client asked for no copy: neither drawn nor dropped.
OPTED_OUT = "opted_out"
# Invocations without an answer, by the failure; all of them are `model_errors`, too.
FAILED_PREFIX = "failed."
EJECTIONS = "ejections"
# Seconds for which routers had an instance ejected, summed over them.
EJECTED_S = "ejected_s"
# Records that the spool had no room for, on the variant that they are about.
CAPTURES_LOST = "captures_lost"
PAIRS_LOST = "pairs_lost"
# Requests that production was asked for again, to know its noise, on the production variant: those
# that were answered and kept, and those that were drawn and came to nothing.
REPEATED = "repeated"
REPEATS_DROPPED = "repeats_dropped"
# Streamed answers that were longer than is kept for a capture, which has the request alone.
CAPTURES_CUT = "captures_cut"
# Streamed answers whose client took nothing for too long, and was given up.
CLIENTS_STALLED = "clients_stalled"

MODEL_LATENCY_US = "model_latency_us"
OVERHEAD_LATENCY_US = "overhead_latency_us"
# Of streamed answers: until the model's first chunk was there.
FIRST_CHUNK_US = "first_chunk_us"
# Requests in flight on a variant, as a router finds them once a second.
CONCURRENT_REQUESTS = "concurrent_requests"
# Behind a histogram's name: the counts that are the exact sum of its values, and their number. Who
# measures counts the sum; the number is added by the collector.
SUM_SUFFIX = ".sum"
NUMBER_SUFFIX = ".number"

# What an instance uses, in basis points (1/100 percent): buckets of whole percents would be coarse.
CPU_UTILIZATION_BP = "cpu_utilization_bp"
MEMORY_UTILIZATION_BP = "memory_utilization_bp"
DISK_UTILIZATION_BP = "disk_utilization_bp"
GPU_UTILIZATION_BP = "gpu_utilization_bp"
GPU_MEMORY_UTILIZATION_BP = "gpu_memory_utilization_bp"
BP_PER_PERCENT = 100
# On the shadow variant of a test whose variants share the machine: for how long it was looked at
# while the test ran, and for how long of that its CPU was busy (`gnomon.control.contention`).
MACHINE_SECONDS = "machine_seconds"
MACHINE_BUSY_SECONDS = "machine_busy_seconds"

DropReason = Literal[
    "over_budget",
    "no_healthy_instance",
    "too_large",
    "refused",
    "not_connected",
    "read_budget",
    "drained",
]
DROP_REASONS: tuple[str, ...] = get_args(DropReason)
