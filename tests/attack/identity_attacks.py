"""Attacks on who an opener is taken for: cgroups, mounts and namespaces, each of them alone and forged."""
import contextlib
import json
import os
import subprocess

from attack_case import READ, UNIFIED, AttackCase, wait_for

NOT_IN_CGROUP = "not in the container's cgroup"
# Every open of this grant's files is attested, so that there is one to attack after the release too.
ALWAYS = {"guard": "always"}
# A neighbour that may move processes between cgroups.
WITH_CGROUPS = ("-v", "/sys/fs/cgroup:/cg")


@contextlib.contextmanager
def cgroup(path):
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        wait_for(lambda: not (path / "cgroup.procs").read_text(), "the cgroup is empty", 10)
        path.rmdir()


def read_as(enter, directory, name="pw"):
    """What a process of the host reads of NAME below the open DIRECTORY after it has gone through ENTER."""
    script = f"{enter} exec dd if=/proc/self/fd/{directory}/{name} status=none"
    result = subprocess.run(["sh", "-c", script], pass_fds=[directory], text=True, capture_output=True, check=False)
    return result.stdout + result.stderr


class IdentityAttacks(AttackCase):
    def test_row_2_a_cgroup_named_after_the_victim(self):
        def attack(target):
            """A process of the host that has kept a descriptor of the armed directory joins a cgroup of its own,
            named docker-ID.scope after the victim."""
            target.allow()
            victim, path = target.hold_armed()
            directory = os.open(path, os.O_PATH)
            self.addCleanup(os.close, directory)
            target.release_holds()
            target.wait_released(victim)
            with cgroup(UNIFIED / f"user-{os.getpid()}.slice/docker-{victim}.scope") as forged:
                told = read_as(f"echo $$ >{forged}/cgroup.procs;", directory)
            forged.parent.rmdir()
            return target.loot(told)

        self.compare(2, attack, "cgroup-by-name", "through another mount")

    def test_row_3_a_cgroup_named_after_the_victim_below_ones_own(self):
        def attack(target):
            """A neighbour with a writable cgroup file system makes a cgroup named after the victim below its own,
            enters it, and opens the copy of the armed mount that it has."""
            target.allow()
            victim, _ = target.hold_armed()
            neighbour = target.detach(*target.neighbour(*WITH_CGROUPS), "--", "sleep", "600")
            target.release_holds()
            target.wait_released(victim)
            forged = f"/cg/unified/docker/{neighbour}/{victim}"
            script = (f"mkdir {forged} && echo $$ >{forged}/cgroup.procs; "
                      "dd if=$(echo /x/mayfly-volumes/*/pw) status=none")
            result = self.engine.exec(neighbour, "sh", "-c", script, check=False)
            return target.loot(result.stdout)

        self.compare(3, attack, "cgroup-by-name", "through another mount")

    def test_row_4_and_65_a_neighbour_moves_itself_into_the_victims_cgroup(self):
        def attack(target):
            """A neighbour with a writable cgroup file system moves itself into the victim's cgroup and opens the copy
            of the armed mount that it has."""
            target.allow()
            victim, _ = target.hold_armed()
            neighbour = target.detach(*target.neighbour(*WITH_CGROUPS), "--", "sleep", "600")
            target.release_holds()
            target.wait_released(victim)
            script = (f"for h in unified pids memory systemd; do echo $$ >/cg/$h/docker/{victim}/cgroup.procs; done; "
                      "cat /proc/self/cgroup >/shared/cgroup; dd if=$(echo /x/mayfly-volumes/*/pw) status=none")
            result = self.engine.exec(neighbour, "sh", "-c", script, check=False)
            self.assertIn(victim, target.shared_text("cgroup"))
            return target.loot(result.stdout)

        self.compare("4, 65", attack, "cgroup-only", "through another mount")

    def test_row_65_a_container_started_below_the_victims_cgroup(self):
        def attack(target):
            """`docker run --cgroup-parent /docker/VICTIM` with the host's run directory, in the moment before the
            victim runs."""
            target.allow()
            victim, _ = target.hold_armed(moment="start")
            # Its first open waits: it may be the victim's, until the victim runs.
            neighbour = target.intrude(*target.neighbour("--cgroup-parent", f"/docker/{victim}"), until="held: ")
            target.release_holds()
            target.wait_released(victim)
            target.go()
            return target.loot(target.said(neighbour))

        self.compare(65, attack, "cgroup-only", "through another mount")

    def test_row_65_a_container_in_the_victims_pid_namespace(self):
        def attack(target):
            """`docker run --pid container:VICTIM` goes through /proc/1/root, and so through the victim's own mount."""
            target.allow(**ALWAYS)
            victim = target.victim()
            return target.loot(target.run("--pid", f"container:{victim}", "--cap-add", "SYS_PTRACE", "--", "dd",
                                          "status=none", "if=/proc/1/root/run/secrets/pw"))

        self.compare(65, attack, "mount-only", NOT_IN_CGROUP)

    def test_row_65_a_foreign_process_in_the_victims_mount_namespace(self):
        def attack(target):
            """A process of another cgroup enters the victim's mount namespace and opens the file there."""
            target.allow(**ALWAYS)
            pid = target.pid(target.victim())
            result = subprocess.run(["nsenter", "-m", "-t", str(pid), "/bin/busybox", "dd", "if=/run/secrets/pw",
                                     "status=none"], text=True,
                                    capture_output=True, check=False)
            return target.loot(result.stdout)

        self.compare(65, attack, "namespace-only", NOT_IN_CGROUP)

    def test_row_12_mayfly_in_a_pid_namespace_of_its_own(self):
        def attack(target):
            """An operator starts Mayfly in a container: the numbers of processes that it reads are not the host's."""
            target.mayfly.wrapper = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
            target.mayfly.start(init=False, wait=False)
            with contextlib.suppress(AssertionError):
                wait_for(lambda: "mayflyd: ready" in target.mayfly.log_text()
                         or target.mayfly.process.poll() is not None, "it has started, or not", 10)
            target.told = target.mayfly.log_text().strip()
            # It passes no signal on; its child goes with it.
            target.mayfly.process.kill()
            return "it serves" if "mayflyd: ready" in target.told else ""

        self.compare(12, attack, "anywhere", None, start=False, says_why=lambda target: target.told.split("\n")[0],
                     tells="must run in the host's own pid and cgroup namespaces")

    def test_row_58_a_container_with_the_operators_socket(self):
        def attack(target):
            """The root of a container that has Mayfly's run directory calls at the operator socket, whose mode lets
            root in: it locks the store."""
            target.allow()
            target.told = target.run("-v", f"{target.mayfly.root}/run/mayfly:/m", "--", "intruder", "say",
                                     "/m/operator.sock", '{"method": "org.mayfly.Operator.Lock"}')
            return "it locked the store" if target.mayfly.status()["state"] == "locked" else ""

        self.compare(58, attack, "callers-unchecked", "at the operator socket refused: the caller is in a container",
                     tells="nobody operates Mayfly from inside a container")

    def test_row_58_a_container_that_calls_as_the_engine(self):
        def attack(target):
            """The root of a container that has the engine's plugin directory speaks to Mayfly as the engine: it removes
            a volume's definition, without which no container with that volume starts."""
            target.allow()
            body = json.dumps({"Name": target.volume})
            target.told = target.run(
                "-v", "/run/docker/plugins:/p", "--", "intruder", "say", f"/p/{target.plugin}.sock",
                f"POST /VolumeDriver.Remove HTTP/1.1\r\nHost: plugin\r\nContent-Length: {len(body)}\r\n\r\n{body}")
            return "" if target.secret in target.run(*target.web(), *READ) else "the victim does not start any more"

        self.compare(58, attack, "callers-unchecked", "at the plugin socket refused: the caller is in a container",
                     tells="403")
