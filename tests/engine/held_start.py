"""A container whose first open waits: what tells Mayfly of its start stands still at that moment."""
import os
import pathlib
import signal
import subprocess
import time

from harness import IMAGE, processes_below, wait_for


def waits_in_open(pid):
    """PID or one of its children waits for an answer about an open."""
    for process in processes_below(pid):
        try:
            if "fanotify" in pathlib.Path(f"/proc/{process}/stack").read_text():
                return process
        except OSError:
            continue
    return None


class HeldStart:
    """`docker run NAME` in the background, with mayfly-engine stopped (SIGSTOP) between Mount and the start: the first
    open of the container waits. The supervisor ends a mayfly-engine that gives no sign of life for 2 s and starts
    another one: until then there is time for what a test wants to do."""

    def __init__(self, case, name, command="cat /run/secrets/db-password; sleep 300", options=()):
        self.engine, self.mayfly, self.name = case.engine, case.mayfly, name
        case.addCleanup(self.close)
        for _ in range(10):
            if self.begin(command, options):
                return
            self.close()
            self.engine.docker("rm", "-f", name, check=False)
        raise AssertionError("the start was always quicker than its holding up")

    def begin(self, command, options):
        self.client = subprocess.Popen(
            ["docker", "-H", f"unix://{self.engine.socket}", "run", "--network", "none", "--name", self.name, *options,
             "-v", "secrets:/run/secrets:ro", IMAGE, "sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        wait_for(lambda: any(d["container"] == self.name for d in self.mayfly.deliveries()), "the mount is armed", step=0)
        self.stopped = self.mayfly.child("mayfly-engine")
        os.kill(self.stopped, signal.SIGSTOP)
        self.pid = wait_for(self.init_pid, "the container has a process", 30)
        try:
            self.opener = wait_for(lambda: waits_in_open(self.pid), "its first open waits", 1)
        except AssertionError:
            return False
        self.since = time.monotonic()
        return True

    def init_pid(self):
        """Not from the engine: it may say nothing while the container starts."""
        for task in self.engine.exec_root.glob("containerd/daemon/io.containerd.runtime.v2.task/moby/*/init.pid"):
            pid = task.read_text()
            if pid and self.is_ours(task.parent.name):
                return int(pid)
        return None

    def is_ours(self, container):
        return any(d["container"] == self.name and d["container_id"] == container for d in self.mayfly.deliveries())

    def go_on(self):
        """What was stopped goes on, if it still lives."""
        try:
            os.kill(self.stopped, signal.SIGCONT)
        except OSError:
            pass

    def waits(self):
        return waits_in_open(self.pid) is not None

    def wait_answered(self, timeout=12):
        """Seconds until the open was answered."""
        wait_for(lambda: not self.waits(), "the open is answered", timeout)
        return time.monotonic() - self.since

    def output(self, timeout=60):
        """What the container printed, once it has ended."""
        out, err = self.client.communicate(timeout=timeout)
        return out, err

    def close(self):
        self.go_on()
        if self.client.poll() is None:
            self.client.kill()
        self.client.communicate()
