"""Attacks on the end: what is still there when a container is gone, for whoever held on to it."""
import os
import signal
import subprocess
import time

from attack_case import AttackCase, wait_for

# Promised is 100 ms; this machine is shared.
WIPED_WITHIN_S = 1.0


class LifetimeAttacks(AttackCase):
    def test_row_24_a_descriptor_and_a_mapping_outlive_the_container(self):
        def attack(target):
            """The container passes its open file to a neighbour, which maps it too, and ends."""
            target.allow()
            victim = target.detach(*target.web(), "--", "intruder", "give", "/shared/socket", "/run/secrets/pw")
            neighbour = target.spawn("--", "sh", "-c", "intruder take /shared/socket /shared/go | tee /shared/take")
            wait_for(lambda: "take: taken" in target.shared_text("take"), "the neighbour has the descriptor", 20)
            self.engine.docker("kill", victim)
            wait_for(lambda: not target.mayfly.deliveries(), "the delivery has ended", 10)
            target.go()
            target.told = target.said(neighbour)
            return target.loot(target.told)

        self.compare(24, attack, "no-wipe", None,
                     says_why=lambda target: ", ".join(target.told.split("\n")[1:3]),
                     tells="descriptor: .empty.\nmapping: .gone.")

    def test_row_25_a_copy_of_the_mount_namespace_outlives_the_container(self):
        def attack(target):
            """A process with CAP_SYS_ADMIN copies the container's mount namespace and so keeps the tmpfs; when Mayfly
            is stopped later, nobody guards the copy any more."""
            target.allow()
            victim = target.victim()
            copy = self.copy_namespace(target.pid(victim))
            self.engine.docker("kill", victim)
            wait_for(lambda: not target.mayfly.deliveries(), "the delivery has ended", 10)
            target.mayfly.stop()
            target.told = self.read_in(copy)
            return target.loot(target.told)

        self.compare(25, attack, "no-wipe", None, says_why=lambda target: target.told.strip())

    def test_row_26_a_container_that_ends_unseen_by_the_engine(self):
        def attack(target):
            """The engine hangs while the container is killed: it says no `die`, and unmounts nothing. Somebody has the
            file open."""
            target.allow()
            pid = target.pid(target.victim())
            held = self.hold_open(pid)
            self.engine.process.send_signal(signal.SIGSTOP)
            try:
                os.kill(pid, signal.SIGKILL)
                return self.read_late(target, held)
            finally:
                self.engine.process.send_signal(signal.SIGCONT)

        self.compare(26, attack, "end-unwatched", None, says_why=self.emptied)

    def test_row_27_a_container_that_ends_after_we_were_dead(self):
        def attack(target):
            """Our broker and mounter are killed and come back; the container ends after that. Somebody has the file
            open."""
            target.allow()
            victim = target.victim()
            held = self.hold_open(target.pid(victim))
            target.mayfly.kill("mayfly-broker")
            target.mayfly.kill("mayfly-mounter")
            target.mayfly.wait_ready()
            self.assertIn(target.secret, os.pread(held, 4096, 0).decode(), "the container keeps its files")
            self.engine.docker("kill", victim)
            return self.read_late(target, held)

        self.compare(27, attack, "no-adoption", None, says_why=self.emptied)

    def test_row_27_a_container_that_ends_while_a_broker_is_dead(self):
        def attack(target):
            """Our broker is killed, and the container before the next one is there. Somebody has the file open."""
            target.allow()
            pid = target.pid(target.victim())
            held = self.hold_open(pid)
            target.mayfly.kill("mayfly-broker", signal.SIGSTOP)
            os.kill(pid, signal.SIGKILL)
            target.mayfly.kill("mayfly-broker")
            target.mayfly.wait_ready()
            return self.read_late(target, held)

        self.compare(27, attack, "no-adoption", None, says_why=self.emptied)

    def hold_open(self, pid):
        """Somebody has the container's file open who does not end with it."""
        held = os.open(f"/proc/{pid}/root/run/secrets/pw", os.O_RDONLY)
        self.addCleanup(os.close, held)
        return held

    def read_late(self, target, held):
        begun = time.monotonic()
        while os.fstat(held).st_size > 0 and time.monotonic() - begun < WIPED_WITHIN_S:
            time.sleep(0.002)
        target.told = f"emptied after {1000 * (time.monotonic() - begun):.0f} ms"
        return target.loot(os.pread(held, 4096, 0).decode())

    @staticmethod
    def emptied(target):
        return f"the file that was held open was {target.told}"

    def copy_namespace(self, pid):
        """A process of the host in a copy of PID's mount namespace, as `unshare -m` in a container with CAP_SYS_ADMIN
        makes it, but with a life of its own."""
        keeper = subprocess.Popen(["nsenter", "-m", "-t", str(pid), "/bin/busybox", "unshare", "-m", "sh", "-c",
                                   "echo ready; exec sleep 600"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(keeper.communicate)
        self.addCleanup(keeper.kill)
        self.assertEqual(keeper.stdout.readline(), "ready\n")
        return keeper.pid

    @staticmethod
    def read_in(pid):
        """What a read in the mount namespace of PID brings."""
        read = ["/bin/busybox", "dd", "if=/run/secrets/pw", "status=none"]
        result = subprocess.run(["nsenter", "-m", "-t", str(pid), *read], text=True, capture_output=True, check=False)
        return result.stdout + result.stderr
