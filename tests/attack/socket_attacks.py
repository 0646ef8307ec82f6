"""Attacks on who a caller at the container socket is taken for, and on what it is told."""
import concurrent.futures
import json
import os
import pathlib
import secrets
import signal
import subprocess

from attack_case import UNIFIED, grant, harness, wait_for
from identity_attacks import cgroup
from socket_case import CALL, CALLER, HIERARCHIES, SocketCase

LOOK_ALIKE = "mayfly-look-alike:1"
NAMES = int(os.environ.get("MAYFLY_ATTACK_NAMES", "12"))
HAS_ENDED = "the process that has connected has ended"


class SocketAttacks(SocketCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.engine.import_image(LOOK_ALIKE, lambda root: cls.add_to_image(root) or (root / "etc/motd").write_text("x"))

    # --- rows 1 to 5 and 65: another process, another cgroup ---

    def become(self, pid, target):
        """A process that comes to be in the victim has the number PID."""
        def join():
            for hierarchy in HIERARCHIES:
                directory = UNIFIED.parent / hierarchy / f"docker/{self.ids['victim']}"
                if directory.is_dir():
                    (directory / "cgroup.procs").write_text("0")

        result = subprocess.run([CALLER, "become", str(pid), str(target.pid("victim"))], preexec_fn=join, text=True,
                                capture_output=True, check=False)
        self.assertEqual(result.stdout, f"became: {pid}\n")
        self.addCleanup(os.kill, pid, signal.SIGKILL)

    def test_row_1_a_number_that_is_used_again(self):
        def attack(target):
            """A process connects, asks and ends; its number is given (clone3 with set_tid) to a process in the victim
            before the broker looks; a sibling reads the answer."""
            asker = target.exec_beside("mallory", "caller", "orphan", target.inside, "/shared/go", "WhoAmI", "{}")
            self.assertIn("connected", asker.stdout.readline())
            child = target.pids("caller", self.ids["mallory"])[-1]
            broker = target.mayfly.kill("mayfly-broker", signal.SIGSTOP)
            try:
                target.go()
                wait_for(lambda: not pathlib.Path(f"/proc/{child}").exists(), "it has ended", 1, step=0.002)
                self.become(child, target)
            finally:
                os.kill(broker, signal.SIGCONT)
            return target.taken_for(target.reply(target.said(asker)))

        self.compare(1, attack, "caller-by-name", HAS_ENDED)

    def test_row_2_a_cgroup_named_after_the_victim(self):
        def attack(target):
            """A process of the host asks from a cgroup of its own, named docker-ID.scope after the victim."""
            with cgroup(UNIFIED / f"user-{os.getpid()}.slice/docker-{self.ids['victim']}.scope") as forged:
                result = subprocess.run(["sh", "-c", f"echo $$ >{forged}/cgroup.procs; exec {CALL} WhoAmI -"], text=True,
                                        env={"MAYFLY_SOCKET": str(target.socket)}, capture_output=True, check=False)
            forged.parent.rmdir()
            return target.taken_for(target.reply(result.stdout))

        self.compare(2, attack, "caller-by-name", "it is in no container that an engine has told of")

    # Not cat, as in attack_case.READ.
    ASK_AND_READ = "call WhoAmI - Request -; dd if=/run/secrets/pw status=none"

    def test_row_3_a_cgroup_named_after_the_victim_below_ones_own(self):
        def attack(target):
            """A container with a writable cgroup file system makes a cgroup named after the victim below its own,
            enters it and asks."""
            mallory = target.detach("-l", "role=other", "-v", "/sys/fs/cgroup:/cg", "--", "sleep", "600")
            forged = f"/cg/unified/docker/{mallory}/{self.ids['victim']}"
            told = self.ask_as(target, mallory, f"mkdir {forged} && echo $$ >{forged}/cgroup.procs; {self.ASK_AND_READ}")
            wait_for(lambda: self.try_remove(forged), "the forged cgroup is gone", 5)
            return target.loot(told)

        self.compare(3, attack, "caller-by-name", "its container can write to a cgroup file system")

    @staticmethod
    def try_remove(inside):
        try:
            (UNIFIED.parent / inside.removeprefix("/cg/")).rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True

    @staticmethod
    def ask_as(target, container, script):
        return target.exec(container, "sh", "-c", script, options=("-e", f"MAYFLY_SOCKET={target.inside}"))

    def moved_asker(self, target, place):
        """What a process of a container without a grant is told and can read, when an accomplice has moved it to the
        cgroup PLACE ("{own}" is its own container, "{victim}" the victim's)."""
        mallory = target.detach("-l", "role=other", "--", "sleep", "600")
        script = f"touch /shared/there; until [ -e /shared/go ]; do sleep 0.02; done; {self.ASK_AND_READ}"
        asker = target.exec_beside(mallory, "env", f"MAYFLY_SOCKET={target.inside}", "sh", "-c", script)
        wait_for((target.shared / "there").exists, "it is there", 10)
        with self.moved(target.pids("sh", mallory)[0], place.format(own=mallory, victim=self.ids["victim"])):
            target.go()
            return target.said(asker)

    def test_row_3_moved_below_ones_own_into_the_victims_name(self):
        def attack(target):
            """A container without a grant is moved by an accomplice, who can write to the cgroup file system, into a
            cgroup named after the victim below its own, and asks."""
            return target.loot(self.moved_asker(target, "docker/{own}/{victim}"))

        self.compare(3, attack, "caller-by-name", "no grant matches")

    def test_row_4_moved_into_the_victims_cgroup(self):
        def attack(target):
            """A container without a grant is moved by an accomplice, who can write to the cgroup file system, into the
            victim's cgroup, and asks."""
            return target.loot(self.moved_asker(target, "docker/{victim}"))

        self.compare(4, attack, "cgroup-only", "it is not in the mount namespace of the container's init")

    def test_row_5_forged_proc_files(self):
        def attack(target):
            """A container with CAP_SYS_ADMIN binds the victim's cgroup directory into its mount table and a file that
            names the victim's cgroup over its /proc/PID/cgroup, and asks."""
            victim = self.ids["victim"]
            mallory = target.detach("-l", "role=other", "--cap-add", "SYS_ADMIN", "-v",
                                    f"{UNIFIED}/docker/{victim}:/victim:ro", "--", "sleep", "600")
            told = self.ask_as(target, mallory,
                               f"echo '0::/docker/{victim}' >/tmp/forged; mount --bind /tmp/forged /proc/$$/cgroup; "
                               f"cat /proc/$$/cgroup; grep -c {victim} /proc/$$/mountinfo; exec call WhoAmI -")
            self.assertIn(f"0::/docker/{victim}\n", told)
            if target.is_control:
                return "the victim's id stands in both files, for whoever reads them there"
            target.told = f"it is answered as {target.reply(told)['parameters'].get('container_id', '?')[:12]}, itself"
            self.assertIn(mallory[:12], target.told)
            return target.taken_for(target.reply(told))

        self.compare(5, attack, "a reader of files in the container", None, says_why=lambda target: target.told)

    def test_row_65_started_below_the_victims_cgroup(self):
        def attack(target):
            """`docker run --cgroup-parent /docker/VICTIM`, and asks."""
            mallory = target.detach("-l", "role=other", "--cgroup-parent", f"/docker/{self.ids['victim']}", "--", "sleep",
                                    "600")
            return target.loot(self.ask_as(target, mallory, self.ASK_AND_READ))

        self.compare(65, attack, "cgroup-only", "not in the cgroup of the container's init, or in another container's")

    # --- rows 6 and 7: other hands ---

    def test_row_6_a_connection_that_is_passed_on(self):
        def attack(target):
            """The victim's connection, by which it is known, is passed to a process of another container (SCM_RIGHTS),
            which releases the victim's files by it."""
            lease = target.delivered()["lease"]
            target.exec_beside("victim", "caller", "give", target.inside, "/shared/passed")
            target.told = target.exec("mallory", "caller", "take", "/shared/passed", "Release",
                                      json.dumps({"lease": lease}))
            if target.secret in target.read("victim"):
                return ""
            return "the victim's files are gone"

        self.compare(6, attack, "senders-unchecked", "this connection is used by another process", tells="NotAttested")

    def test_row_6_a_connection_that_is_inherited(self):
        def attack(target):
            """A process that the victim has started asks on the connection that its parent has made."""
            return target.taken_for(target.call("victim", "WhoAmI", {}, "--child-sends"))

        self.compare(6, attack, "senders-unchecked", "this connection is used by another process")

    def test_row_7_a_willing_relay(self):
        def attack(target):
            """The victim asks for another container and hands on the whole answer."""
            script = "call WhoAmI - Request - Request - Watch - >/shared/answer"
            if target.is_control:
                script += "; cat /run/secrets/pw >>/shared/answer"
            self.ask_as(target, "victim", script)
            told = target.exec("mallory", "sh", "-c", "cat /shared/answer; cat /run/secrets/pw")
            self.assertIn("/run/secrets/pw", told)
            self.assertEqual(told.count('"prod/pw"'), 3)
            return target.loot(told)

        self.compare(7, attack, "a relay that hands on the file as well", None,
                     says_why=lambda _: "the answers name the secret, its version and its path, and have no value")

    # --- rows 8 and 9: a caller that changes, or ends ---

    def test_row_8_another_user_and_program_after_connecting(self):
        def attack(target):
            """A process of the container's root connects, becomes uid 1000 and another program, and asks; that user
            reads what was delivered."""
            target.allow(secret={"name": "pw", "mode": "0444" if target.is_control else "0400"})
            told = target.exec("victim", "caller", "changed", target.inside, "1000", "Request", "{}")
            self.assertTrue(target.reply(told)["parameters"]["is_new"], told)
            target.told = target.exec("victim", "cat", "/run/secrets/pw", options=("-u", "1000"))
            return target.loot(target.told)

        self.compare(8, attack, "a grant that lets every user read", None, tells="Permission denied",
                     says_why=lambda target: "it gets the grant's owner and mode: " + target.told.strip())

    def late(self, target):
        """The name of a secret that is put later."""
        name = f"late-{secrets.token_hex(4)}"
        target.allow(secret={"name": name, "as": "pw", "mode": "0444"})
        return json.dumps({"wait_ms": 20000}), lambda: target.mayfly.put(f"prod/{name}", target.secret)

    def test_row_8_out_of_its_container_while_it_waits(self):
        def attack(target):
            """A process of the victim asks and waits for a secret; until it comes, the process has been moved into
            another container's cgroup."""
            parameters, put = self.late(target)
            asker = target.exec_beside("victim", "env", f"MAYFLY_SOCKET={target.inside}", "call", "WhoAmI", "-",
                                       "Request", parameters)
            self.assertIn("victim", asker.stdout.readline(), "it is known before it moves")
            with self.moved(target.pids("call", self.ids["victim"])[0], f"docker/{self.ids['mallory']}"):
                put()
                reply = target.reply(target.said(asker))
            return "" if "error" in reply else "it was delivered to for a process of another container"

        self.compare(8, attack, "not-checked-again", "it is not in the cgroup of the container's init")

    def test_row_9_dead_while_it_waits(self):
        def attack(target):
            """A process of the victim asks and waits for a secret, ends and is reaped; a sibling holds the connection
            when the secret comes."""
            parameters, put = self.late(target)
            asker = target.exec_beside("victim", "caller", "known-orphan", target.inside, "/", "Request", parameters)
            while "has ended" not in (line := asker.stdout.readline()):
                self.assertTrue(line)
            put()
            reply = target.reply(target.said(asker))
            return "" if "error" in reply else "it was delivered to for a dead process"

        self.compare(9, attack, "not-checked-again", HAS_ENDED)

    # --- rows 10 and 11: names ---

    def test_row_10_a_label_that_claims_to_be_another_service(self):
        def attack(target):
            """A container of another image carries the label of the service that has the grant, and asks."""
            digest = self.engine.inspect(harness.IMAGE, ".Id")
            target.allow(require={} if target.is_control else {"image.digest": digest})
            target.delivered()
            look_alike = target.detach("-l", "role=web", "--", "sleep", "600", image=LOOK_ALIKE)
            return target.loot(self.ask_as(target, look_alike, self.ASK_AND_READ))

        self.compare(10, attack, "a grant that rests on strings", "image of another digest")

    def test_row_11_a_name_that_is_used_again(self):
        def attack(target):
            """A container is removed and another one takes its name, again and again, four names at a time; each asks at
            its first instruction, and every second one is not what the grant asks for."""
            target.mayfly.policy(*(grant(f"db{i}", {"container.name": f"db{i}", "container.label.role": "web"},
                                         {"name": "pw", "mode": "0444"}) for i in range(4)))
            target.unserved = []
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                stolen, served, asked = map(sum, zip(*pool.map(lambda i: self.reuse(target, f"db{i}"), range(4))))
            target.told = f"{served} of {asked} containers served, {stolen} impostors"
            self.assertGreater(served, 0.9 * asked, f"whoever may have it has it; not: {target.unserved}")
            return f"{stolen} impostors read the value" if stolen else ""

        self.compare(11, attack, "name-is-enough", "no grant matches", says_why=lambda target: target.told)

    def reuse(self, target, name):
        stolen = served = asked = 0
        for i in range(2 if target.is_control else (NAMES + 3) // 4):
            role = "web" if i % 2 == 0 else "other"
            told = target.run("--name", name, "-l", f"role={role}", "-e", f"MAYFLY_SOCKET={target.inside}", "--", "sh",
                              "-c", self.ASK_AND_READ)
            if role == "other":
                stolen += target.secret in told
            else:
                asked += 1
                served += target.secret in told
                if target.secret not in told:
                    target.unserved.append(f"{name}: {told}")
        return stolen, served, asked

    # --- rows 13 and 14: other containers' processes ---

    def test_row_13_and_14_through_the_victims_proc_root(self):
        def attack(target):
            """A container in the victim's pid namespace, and one in the host's, both root, go through /proc/PID/root to
            what the victim has asked for."""
            target.allow(guard="until-start" if target.is_control else "always")
            target.delivered()
            self.assertIn(target.secret, target.read("victim"))
            # In this order: a pid namespace that is joined brings the guard back.
            told = target.run("--pid", "host", "--", "cat", f"/proc/{target.pid('victim')}/root/run/secrets/pw")
            told += target.run("--pid", "container:victim", "--", "cat", "/proc/1/root/run/secrets/pw")
            return target.loot(told)

        self.compare("13, 14", attack, "a grant that lets the guard go", "not in the container's cgroup")


del SocketCase
