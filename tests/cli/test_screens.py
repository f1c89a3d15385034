"""Lines that `gnomon status` prints of what the machine cannot give."""

from gnomon.cli.screens import mirrored, overcommitted

GIB = 1024**3


def machine(**wanted):
    return {
        "cores": 2,
        "memory_bytes": 8 * GIB,
        "wanted_vcpus": 2,
        "wanted_memory_bytes": 8 * GIB,
        "wanted_gpus": 0,
    } | wanted


def test_a_machine_that_is_full_is_not_over_committed():
    assert overcommitted(machine()) == []


def test_each_share_that_is_promised_twice_is_said():
    (vcpus,) = overcommitted(machine(wanted_vcpus=12))
    assert "12 vCPUs" in vcpus
    assert "2 cores" in vcpus
    (memory,) = overcommitted(machine(wanted_memory_bytes=48 * GIB))
    assert "48.0 GiB of memory, and this machine has 8.0" in memory


def test_a_line_says_what_became_of_the_requests():
    line = mirrored(
        {
            "endpoint": "flights",
            "variant": "next",
            "minutes": 5,
            "candidates": 2000,
            "opted_out": 3,
            "not_sampled": 987,
            "mirrored": 1000,
            "dropped": {"over_budget": 10, "refused": 0},
            "failed": {"deadline": 2},
        }
    )
    assert line == (
        "Shadow next of flights, last 5 minutes: 2,000 requests, of which 1,000 mirrored, 987 not "
        "sampled, 3 opted out, 10 dropped (over_budget), 2 failed (deadline)"
    )
