"""Command lines that run Mayfly on a kernel that seems to lack something."""
import os
import pathlib

from harness import BUILD

PROGRAM = pathlib.Path(os.environ.get("MAYFLY_DENY_CALLS", BUILD / "tests/privileged/deny_calls"))


def older_kernel():
    """No SO_PEERPIDFD, no PIDFD_GET_INFO, no statmount."""
    return (PROGRAM, "older-kernel")


def no_fanotify():
    return (PROGRAM, "no-fanotify")


def no_permission_events():
    """As Docker Desktop's: fanotify is there, a mark with permission events is EINVAL."""
    return (PROGRAM, "no-permission-events")
