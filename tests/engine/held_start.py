"""Containers whose first opens wait: what tells Mayfly of their starts stands still at that moment."""
import os
import pathlib
import signal
import subprocess
import time

from harness import IMAGE, processes_below, wait_for

READ = "cat /run/secrets/db-password"


def waits_in_open(pid):
    """A process that waits for an answer about an open: PID or one that descends from it; or None."""
    for process in processes_below(pid):
        try:
            if "fanotify" in pathlib.Path(f"/proc/{process}/stack").read_text():
                return process
        except OSError:
            continue
    return None


class HeldStarts:
    """`docker run NAME` for each of {NAME: command} in the background, with mayfly-engine stopped (SIGSTOP) between their
    Mounts and their starts: the first open of each waits. The supervisor ends a mayfly-engine that gives no sign of life
    for 2 s and starts another one: until then there is time for what a test wants to do."""

    def __init__(self, case, commands, options=()):
        self.engine, self.mayfly, self.commands, self.options = case.engine, case.mayfly, commands, options
        self.clients, self.pids, self.stopped = {}, {}, None
        case.addCleanup(self.close)
        for _ in range(10):
            if self.begin():
                self.since = time.monotonic()
                return
            self.close()
            self.engine.docker("rm", "-f", *commands, check=False)
            self.mayfly.wait_ready()
        raise AssertionError("the starts were always quicker than their holding up")

    def run(self, name, command):
        return subprocess.Popen(
            ["docker", "-H", f"unix://{self.engine.socket}", "run", "--network", "none", "--name", name, *self.options,
             "-v", "secrets:/run/secrets:ro", IMAGE, "sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)

    def begin(self):
        self.clients = {name: self.run(name, command) for name, command in self.commands.items()}
        self.pids = {}
        armed = lambda: {d["container"] for d in self.mayfly.deliveries()} >= set(self.commands)
        wait_for(armed, "the mounts are armed", step=0)
        self.stopped = self.mayfly.child("mayfly-engine")
        os.kill(self.stopped, signal.SIGSTOP)
        try:
            wait_for(self.find_pids, "the containers have processes", 1)
            wait_for(lambda: all(map(waits_in_open, self.pids.values())), "their first opens wait", 1)
        except AssertionError:
            return False
        return True

    def find_pids(self):
        """Not from the engine: it may say nothing while a container starts."""
        ids = {d["container_id"]: d["container"] for d in self.mayfly.deliveries() if d["state"] == "armed"}
        for task in self.engine.exec_root.glob("containerd/daemon/io.containerd.runtime.v2.task/moby/*/init.pid"):
            pid = task.read_text()
            if pid and ids.get(task.parent.name) in self.commands:
                self.pids[ids[task.parent.name]] = int(pid)
        return len(self.pids) == len(self.commands)

    def go_on(self):
        """What was stopped goes on, if it still lives."""
        try:
            if self.stopped:
                os.kill(self.stopped, signal.SIGCONT)
        except OSError:
            pass

    def wait_answered(self, timeout=12):
        """Seconds until all opens were answered."""
        wait_for(lambda: not any(map(waits_in_open, self.pids.values())), "the opens are answered", timeout)
        return time.monotonic() - self.since

    def output(self, name=None):
        """(output, error) of NAME, or of the only one, once it has ended."""
        return self.clients[name or next(iter(self.clients))].communicate(timeout=60)

    def close(self):
        self.go_on()
        for client in self.clients.values():
            if client.poll() is None:
                client.kill()
            client.communicate()


def hold(case, name, command=READ, options=()):
    """One container whose first open waits."""
    return HeldStarts(case, {name: command}, options)
