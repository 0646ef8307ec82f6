"""A delivery into a container that runs already, against the real kernel: hostile targets, races, mounts that propagate, roots
that cannot be written to; and its way back."""
import errno
import os
import tempfile
import time
import unittest

import mounter_test
from mounter_client import (KEEP_PREVIOUS, LOOK_AT_MOUNTS, MADE, MAKE_TARGET, RELEASED, WIPED, WRITABLE_CGROUP, OP)

VALUE = b"the value of a secret"
RENAMES = 100_000
RACE_S = 60  # the renames take a second or two; the machine may be busy

# In the container: what stands at the target changes all the time. One directory is exchanged for another, then for a link.
RACER = """
def exchange(a, b):
    check(libc.renameat2(-100, a, -100, b, 2))
if os.fork() == 0:
    try:
        for i in range({renames} // 4):
            exchange(b"/run", b"/other"); exchange(b"/run", b"/other")
            exchange(b"/run", b"/link"); exchange(b"/run", b"/link")
        os.mkdir("/raced")
    finally:
        os._exit(0)
"""


class Container(mounter_test.Container):
    """One that does what it is told; "shared" and "read-only" are said of its root."""

    SCRIPT = mounter_test.Container.SCRIPT.replace("    try:\n", """
    if command == "do":
        try:
            exec(bytes.fromhex(path)); os.write(1, b"+\\n")
        except OSError as problem:
            os.write(1, b"-%d\\n" % problem.errno)
        continue
    try:
""", 1)

    def do(self, code, allowed=(0,)):
        self.process.stdin.write(f"do {code.encode().hex()}\n".encode())
        self.process.stdin.flush()
        told = self.told()
        status = 0 if told == b"" else -told
        assert status in allowed, (code, status)
        return status

    def mounts(self):
        with open(f"/proc/{self.process.pid}/mountinfo", encoding="ascii") as file:
            return file.read().splitlines()

    def points_of(self, device):
        """Where a file system of DEVICE is mounted."""
        number = f"{os.major(device)}:{os.minor(device)}"
        return [line.split()[4] for line in self.mounts() if line.split()[2] == number]


class InsideTest(unittest.TestCase):
    wrapper = ()
    setUp = mounter_test.MounterTest.setUp
    unmount = mounter_test.MounterTest.unmount
    call = mounter_test.MounterTest.call

    def container(self, *rest):
        source = tempfile.mkdtemp(prefix="mayfly-inside-")
        self.addCleanup(os.rmdir, source)
        container = Container(source, "mnt", *rest)
        self.addCleanup(container.close)
        return container

    def make(self, delivery=None):
        """A sealed delivery with one file; its device."""
        delivery = delivery or self.delivery
        device = self.call("MAKE", delivery=delivery, size_bytes=1 << 20, inodes=64).device
        writer = self.call("FILE", delivery=delivery, name="password", generation=1, mode=0o444, size_bytes=len(VALUE)).fd
        os.write(writer, VALUE)
        os.close(writer)
        self.call("COMMIT", delivery=delivery, generation=1)
        self.call("SEAL", delivery=delivery)
        self.addCleanup(self.mounter_wipe, delivery)
        return device

    def mounter_wipe(self, delivery):
        if self.mounter.process.poll() is None:
            self.mounter.call("WIPE", delivery=delivery)

    def attach(self, container, status=0, target="run/secrets", flags=MAKE_TARGET, **fields):
        return self.call("ATTACH_INSIDE", status, name=target, fds=[container.pidfd], flags=flags, **fields)

    def refused(self, container, status, text, **fields):
        """Nothing is mounted, and the delivery can still go elsewhere."""
        device = self.make()
        reply = self.attach(container, status, **fields)
        self.assertIn(text, reply.detail)
        self.assertEqual(container.points_of(device), [])
        self.assertEqual(reply.phase, MADE)
        return reply

    # -- the way in and back

    def test_there_and_back_again(self):
        container = self.container()
        device = self.make()
        reply = self.attach(container)
        self.assertEqual(reply.phase, RELEASED)
        self.assertEqual(container.points_of(device), ["/run/secrets"])
        container.ask("/run/secrets/password")
        self.assertEqual(container.told(), VALUE)
        container.do("check(0 if os.stat('/run/secrets').st_mode & 0o777 == 0o755 else 1)")
        self.call("WIPE")
        self.call("DETACH_INSIDE", name="run/secrets", fds=[container.pidfd])
        self.assertEqual(container.points_of(device), [])
        self.make(os.urandom(32))

    def test_only_its_own_mount_is_taken_away(self):
        container = self.container()
        device = self.make()
        self.attach(container)
        container.do("check(libc.mount(b'over', b'/run/secrets', b'tmpfs', 0, None))")
        self.call("DETACH_INSIDE", -errno.ESTALE, name="run/secrets", fds=[container.pidfd])
        self.call("DETACH_INSIDE", -errno.ESTALE, name="run", fds=[container.pidfd])
        self.assertEqual(len([line for line in container.mounts() if line.split()[4] == "/run/secrets"]), 2)
        container.do("check(libc.umount2(b'/run/secrets', 0))")
        self.call("DETACH_INSIDE", name="run/secrets", fds=[container.pidfd])
        self.assertEqual(container.points_of(device), [])

    def test_a_target_that_is_missing_is_made_only_when_that_is_wished(self):
        container = self.container()
        self.refused(container, -errno.ENOENT, "does not exist", flags=0)
        container.do("os.makedirs('/run/secrets')")
        self.attach(container, flags=0)

    def test_the_previous_generation_stays_until_it_is_cleaned(self):
        container = self.container()
        self.make()
        self.attach(container)
        self.call("UNSEAL")
        os.close(self.call("FILE", name="user", generation=2, mode=0o444, size_bytes=4).fd)
        self.call("COMMIT", generation=2, flags=KEEP_PREVIOUS)
        container.ask("/run/secrets/..a/password")
        self.assertEqual(container.told(), VALUE)
        self.call("CLEAN", generation=2)
        self.call("SEAL")
        container.ask("/run/secrets/..spare0/password")
        self.assertEqual(container.told(), b"", "emptied")
        container.ask("/run/secrets/password")
        self.assertEqual(container.told(), -errno.ENOENT)

    # -- what a container may have put in the way

    def test_a_link_at_the_target_is_not_followed(self):
        container = self.container()
        container.do("os.mkdir('/elsewhere'); os.mkdir('/run'); os.symlink('/elsewhere', '/run/secrets')")
        self.refused(container, -errno.ENOTDIR, "a link or a file is in the way")

    def test_a_link_on_the_way_is_not_followed(self):
        container = self.container()
        for number, where in enumerate(("/elsewhere", "..", "/proc/1/root", "/proc/self/cwd")):
            with self.subTest(where):
                container.do(f"os.makedirs('/elsewhere/secrets', exist_ok=True); os.symlink({where!r}, '/way{number}')")
                self.delivery = os.urandom(32)
                self.refused(container, -errno.ENOTDIR, "a link or a file is in the way", target=f"way{number}/secrets")

    def test_a_file_at_the_target_is_no_place(self):
        container = self.container()
        container.do("os.mkdir('/run'); open('/run/secrets', 'w').close()")
        self.refused(container, -errno.ENOTDIR, "a link or a file is in the way")

    def test_another_mount_at_the_target_is_not_covered(self):
        container = self.container()
        self.refused(container, -errno.EBUSY, "another mount", target="mnt")
        container.do("os.mkdir('/run'); check(libc.mount(b'run', b'/run', b'tmpfs', 0, None)); os.mkdir('/run/secrets')")
        container.do("check(libc.mount(b'over', b'/run/secrets', b'tmpfs', 0, None))")
        self.delivery = os.urandom(32)
        self.refused(container, -errno.EBUSY, "another mount")

    def test_one_tmpfs_on_the_way_is_crossed_and_no_second(self):
        container = self.container()
        container.do("os.mkdir('/run'); check(libc.mount(b'run', b'/run', b'tmpfs', 0, None)); os.mkdir('/run/in')")
        container.do("check(libc.mount(b'in', b'/run/in', b'tmpfs', 0, None))")
        self.refused(container, -errno.EXDEV, "only one tmpfs", target="run/in/secrets")
        self.attach(container, target="run/secrets")

    def test_a_mount_of_another_kind_on_the_way_is_not_crossed(self):
        container = self.container()
        self.refused(container, -errno.EXDEV, "only one tmpfs", target="mnt/secrets")
        container.do("os.mkdir('/proc'); check(libc.mount(b'proc', b'/proc', b'proc', 0, None))")
        self.delivery = os.urandom(32)
        self.refused(container, -errno.EXDEV, "only one tmpfs", target="proc/sys")

    def test_a_mount_that_would_appear_elsewhere_is_refused(self):
        """The root of a container that was made with `rshared`: what is mounted there, the host would have too."""
        container = self.container()
        container.do("os.makedirs('/run/secrets'); check(libc.mount(None, b'/', None, 1 << 20, None))")
        self.refused(container, -errno.EPERM, "outside of the container")
        container.do("check(libc.mount(None, b'/', None, 1 << 18, None))")
        self.attach(container)

    def test_the_crossed_tmpfs_may_not_be_shared_either(self):
        container = self.container()
        container.do("os.mkdir('/run'); check(libc.mount(b'run', b'/run', b'tmpfs', 0, None))")
        container.do("check(libc.mount(None, b'/run', None, 1 << 20, None))")
        self.refused(container, -errno.EPERM, "outside of the container")

    def test_a_read_only_root_needs_its_target(self):
        container = self.container()
        container.do("os.makedirs('/there/secrets'); check(libc.mount(None, b'/', None, 4096 | 32 | 1, None))")
        self.refused(container, -errno.EROFS, "missing and cannot be made")
        self.attach(container, target="there/secrets")

    def test_a_root_of_another_user_needs_its_target(self):
        """uid 0 of the host, without CAP_DAC_OVERRIDE, is nobody there."""
        container = self.container("userns")
        self.refused(container, -errno.EACCES, "missing and cannot be made")
        container.do("os.makedirs('/run/secrets')")
        self.attach(container)
        container.ask("/run/secrets/password")
        self.assertEqual(container.told(), VALUE)

    def test_whoever_may_mount_cannot_write_either(self):
        """Its mount can be made writable by root in the container; the file system behind it cannot."""
        for kind in ((), ("userns",)):
            with self.subTest(kind):
                container = self.container(*kind)
                container.do("os.makedirs('/run/secrets')")
                self.delivery = os.urandom(32)
                self.make()
                self.attach(container)
                container.do("check(libc.mount(None, b'/run/secrets', None, 4096 | 32, None))", allowed=(0, errno.EPERM))
                container.do("os.open('/run/secrets/..a/password', os.O_WRONLY)", allowed=(errno.EROFS,))
                container.do("os.mkdir('/run/secrets/more')", allowed=(errno.EROFS,))
                if kind:  # CAP_SYS_ADMIN of the host may change the file system itself: posture refuses it.
                    container.do("check(libc.mount(None, b'/run/secrets', None, 32, None))", allowed=(errno.EPERM,))

    def test_a_hanging_file_system_on_the_way_costs_one_worker(self):
        container = self.container("hanging")
        other = self.container()
        device = self.make()
        begun = time.monotonic()
        self.mounter.send("ATTACH_INSIDE", delivery=self.delivery, name="hanging/secrets", fds=[container.pidfd],
                          flags=MAKE_TARGET)
        second = os.urandom(32)
        for op, fields in (("MAKE", {"size_bytes": 1 << 20, "inodes": 64}),
                           ("ATTACH_INSIDE", {"name": "run/secrets", "fds": [other.pidfd], "flags": MAKE_TARGET})):
            reply = self.mounter.call(op, delivery=second, **fields)
            self.assertEqual((reply.status, reply.delivery), (0, second), "answered while the worker hangs")
        self.assertLess(time.monotonic() - begun, 1.5)
        reply = self.mounter.receive()
        self.assertEqual((reply.op, reply.status), (OP["ATTACH_INSIDE"], -errno.ETIMEDOUT), reply)
        self.assertLess(time.monotonic() - begun, 4)
        self.assertEqual(container.points_of(device), [])
        self.call("WIPE", delivery=second)
        self.assertEqual(self.call("WIPE").phase, WIPED)

    def test_the_host_is_no_container(self):
        self.make()
        reply = self.call("ATTACH_INSIDE", -errno.EPERM, name="run/secrets", fds=[self.engine], flags=MAKE_TARGET)
        self.assertIn("host", reply.detail)

    # -- races

    def test_a_hundred_thousand_renames_lead_it_nowhere_else(self):
        """Each time it is at the target as it was looked at afterwards, or it is nowhere."""
        container = self.container()
        container.do("os.makedirs('/run/secrets'); os.makedirs('/other/secrets'); os.makedirs('/far/secrets'); "
                     "os.symlink('/far', '/link')")
        before = self.on_host(container)
        container.do(RACER.format(renames=RENAMES))
        outcomes = {}
        deadline = time.monotonic() + RACE_S
        while not self.has(container, "/raced"):
            self.assertLess(time.monotonic(), deadline, f"the renames are not done; so far {outcomes}")
            self.delivery = os.urandom(32)
            device = self.make()
            reply = self.mounter.call("ATTACH_INSIDE", delivery=self.delivery, name="run/secrets", fds=[container.pidfd])
            outcomes[reply.status] = outcomes.get(reply.status, 0) + 1
            points = container.points_of(device)
            if reply.status:
                self.assertEqual(points, [], reply)
            else:
                # Its directory may have been renamed since.
                self.assertIn(points, (["/run/secrets"], ["/other/secrets"], ["/link/secrets"]))
                container.do(f"[libc.umount2(at, 2) for _ in range(3) for at in (b'/run/secrets', b'/other/secrets', "
                             "b'/link/secrets')]")
            self.call("WIPE")
            self.call("FORGET")
        print(f"# {sum(outcomes.values())} deliveries: "
              + ", ".join(f"{errno.errorcode.get(-status, 'there')} {count}" for status, count in outcomes.items()))
        for status in (0, -errno.ESTALE, -errno.ENOTDIR):
            self.assertIn(status, outcomes, "without it the race proves nothing")
        self.assertEqual(self.on_host(container), before, "nothing of it is on the host")

    @staticmethod
    def on_host(container):
        """What the host sees mounted in the container's root."""
        with open("/proc/self/mountinfo", encoding="ascii") as file:
            return [line for line in file if container.root in line]

    @staticmethod
    def has(container, path):
        return os.path.exists(f"/proc/{container.process.pid}/root{path}")

    # -- what a container's mounts tell

    def test_a_writable_cgroup_file_system_is_seen(self):
        container = self.container()
        look = lambda: self.mounter.call("COMPARE", fds=[container.pidfd, container.pidfd], flags=LOOK_AT_MOUNTS).flags
        self.assertFalse(look() & WRITABLE_CGROUP)
        container.do("os.mkdir('/cgroup'); check(libc.mount(b'cgroup', b'/cgroup', b'cgroup2', 1, None))")
        self.assertFalse(look() & WRITABLE_CGROUP, "read-only")
        container.do("check(libc.mount(None, b'/cgroup', None, 4096 | 32, None))")
        self.assertTrue(look() & WRITABLE_CGROUP)

    def test_a_mount_table_that_is_too_large_to_be_read_is_judged_as_the_worst(self):
        container = self.container()
        container.do("os.mkdir('/many' * 1); [check(libc.mount(b'/mnt', b'/many', None, 4096, None)) for _ in range(4000)]")
        reply = self.mounter.call("COMPARE", fds=[container.pidfd, container.pidfd], flags=LOOK_AT_MOUNTS)
        self.assertTrue(reply.flags & WRITABLE_CGROUP)


@unittest.skipUnless(os.path.exists(os.environ.get("MAYFLY_DENY_CALLS", "")), "needs the helper that denies calls")
class OlderKernelTest(InsideTest):
    """The same before 6.8: no statmount, no unique mount ids."""

    wrapper = (os.environ.get("MAYFLY_DENY_CALLS", ""), "older-kernel")


if __name__ == "__main__":
    unittest.main(verbosity=2)
