"""A container's delivery, seen from outside: what is in it, when it is emptied, and what is left of it anywhere."""
import contextlib
import os
import pathlib
import select
import stat
import threading
import time

from harness import mounts, wait_for

LIMIT_S = 0.1  # promise 2: so long after the container's end its delivery is empty
NOISE_S = 0.01  # the watcher, which sleeps for 1 ms, was away for longer: the machine is too busy to tell


class DeliveryWatch:
    """Holds the delivery by a descriptor of its directory: what was only unmounted would still be seen through it."""

    def __init__(self, pid, target="/run/secrets"):
        self.pidfd = os.pidfd_open(int(pid))
        self.directory = os.open(f"/proc/{pid}/root{target}", os.O_RDONLY | os.O_DIRECTORY)

    def files(self):
        """{path: length}. Directories only are opened: that asks nobody."""
        found = {}
        for place, _, names, fd in os.fwalk(".", dir_fd=self.directory, follow_symlinks=False):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # wiped just now
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if not stat.S_ISLNK(status.st_mode):
                        found[os.path.normpath(f"{place}/{name}")] = status.st_size
        return found

    def has_content(self):
        return any(self.files().values())

    def wait_for_end(self):
        """Returns as soon as the container's first process has ended."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if not poll.poll(30000):
            raise AssertionError("the container does not end")
        return time.monotonic()

    def close(self):
        os.close(self.pidfd)
        os.close(self.directory)


class EmptyingClock(threading.Thread):
    """Watches for the container's end, and for the emptying of its delivery, while the test brings the end about."""

    def __init__(self, watch):
        super().__init__(daemon=True)
        self.watch, self.error = watch, None
        self.ended = self.emptied = self.lag = 0.0

    def run(self):
        try:
            self.ended = self.watch.wait_for_end()
            last = self.ended
            while self.watch.has_content():
                time.sleep(0.001)
                now = time.monotonic()
                self.lag, last = max(self.lag, now - last), now
                if now - self.ended > 20:
                    raise AssertionError(f"still there 20 s after the end: {self.watch.files()}")
            self.emptied = time.monotonic()
        except Exception as error:  # told by the test's own thread
            self.error = error


def assert_emptied_in_time(case, start, end, begins=None):
    """START() gives a DeliveryWatch, END() ends its container; after at most 100 ms nothing is left in the delivery.
    BEGINS(): when the time begins to count, if not with the container's end. Measured again when the machine was too
    busy to let this process look. Returns the seconds."""
    for _ in range(5):
        watch = start()
        case.assertTrue(watch.has_content(), "there must be something to be emptied")
        clock = EmptyingClock(watch)
        clock.start()
        end()
        clock.join(60)
        watch.close()
        if clock.error:
            raise clock.error
        seconds = clock.emptied - (begins() if begins else clock.ended)
        if seconds <= LIMIT_S:
            return seconds
        if clock.lag < NOISE_S:
            break
    raise AssertionError(f"emptied after {seconds * 1000:.0f} ms (the watcher itself was away for {clock.lag * 1000:.0f} ms)")


def stale(mayfly, directories=True):
    """Everything of Mayfly's that is there although no container has a delivery: [] when it is as it should be.
    DIRECTORIES: empty ones, too, below the host path. The engine's Unmount removes them, and one that was lost is waited
    for for two minutes."""
    volumes = mayfly.root / "run/mayfly-volumes"
    found = [f"host: {line}" for line in mounts().splitlines() if f" {volumes}/" in line]
    for engine in mayfly.engines:
        if engine.process and engine.process.poll() is None:
            found += [f"engine: {line}" for line in mounts(engine.pid()).splitlines() if f" {volumes}/" in line]
            directory = pathlib.Path(f"/proc/{engine.pid()}/root{volumes}")
            if directories and directory.is_dir():
                found += [f"directory: {entry}" for entry in directory.iterdir()]
    status = mayfly.status()
    found += [f"status: {status[key]} {key}" for key in ("armed", "released") if status[key]]
    return found + [f"delivery: {delivery}" for delivery in mayfly.deliveries()]


def assert_nothing_stale(case, mayfly, timeout=10, directories=True):
    try:
        wait_for(lambda: not stale(mayfly, directories), "nothing stale is left", timeout)
    except AssertionError:
        case.fail("\n".join(["left over:", *stale(mayfly, directories), mayfly.log_text()[-2000:]]))
