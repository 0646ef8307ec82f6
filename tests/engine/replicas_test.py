"""Many containers of one volume at the same time: each has a delivery of its own, and only what its grant gives."""
import os
import pathlib
import subprocess
import unittest

from delivery_watch import assert_nothing_stale
from harness import IMAGE, EngineCase, grant, wait_for

ROUNDS = int(os.environ.get("MAYFLY_ROUNDS", "10"))  # of the eight replicas; scripts/soak has more


class ReplicasCase(EngineCase):
    def setUp(self):
        super().setUp()
        self.volume()

    def start_together(self, commands):
        """`docker run` for each of {name: arguments} at once; {name: (status, output, error)}."""
        clients = {name: subprocess.Popen(
            ["docker", "-H", f"unix://{self.engine.socket}", "run", "--network", "none", "--name", name, *arguments],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for name, arguments in commands.items()}
        return {name: (client.wait(120), *client.communicate()) for name, client in clients.items()}

    def mount_device(self, name):
        """The number of the tmpfs at NAME's /run/secrets, as its own mount table has it."""
        pid = self.engine.inspect(name, ".State.Pid")
        for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
            if line.split()[4] == "/run/secrets":
                return line.split()[2]
        raise AssertionError(f"{name} has no mount at /run/secrets")


class Replicas(ReplicasCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.put("prod/shared", "shared value")
        for number in range(8):
            cls.mayfly.put(f"prod/of-{number}", f"value of {number}")

    def test_three_replicas_of_one_service_have_three_tmpfs(self):
        self.mayfly.policy(grant("web", {"compose.service": "web"}, "shared"))
        arguments = ["-d", "--label", "com.docker.compose.service=web", "-v", "secrets:/run/secrets:ro", IMAGE, "sleep",
                     "300"]
        names = [f"shop-web-{number}" for number in (1, 2, 3)]
        self.start_together({name: arguments for name in names})
        for name in names:
            self.assertEqual(self.engine.exec(name, "cat", "/run/secrets/shared").stdout, "shared value")
        self.assertEqual(len({self.mount_device(name) for name in names}), 3)
        self.engine.docker("kill", names[0])
        wait_for(lambda: len(self.mayfly.deliveries()) == 2, "one delivery is gone")
        for name in names[1:]:
            self.assertEqual(self.engine.exec(name, "cat", "/run/secrets/shared").stdout, "shared value")

    def test_eight_with_different_grants_started_together_each_get_their_own(self):
        grants = [grant(f"of-{n}", {"container.name": f"replica-{n}-*"}, f"of-{n}", "shared") for n in range(8)]
        # One has more files, one another owner, one the other layout: what is armed first fits nobody else.
        grants[2]["secrets"] += [{"name": "of-2", "as": f"more/{n}"} for n in range(20)]
        grants[5]["secrets"][0].update(uid=1000, mode="0440")
        grants[6]["layout"] = "plain"
        self.mayfly.policy(*grants)
        for number in range(ROUNDS):
            names = [f"replica-{n}-round-{number}" for n in range(8)]
            script = 'cd /run/secrets; ls; echo "$(cat of-*)"; echo "$(cat shared)"'
            results = self.start_together({name: ["-v", "secrets:/run/secrets:ro", IMAGE, "sh", "-c", script]
                                           for name in names})
            for n, name in enumerate(names):
                more = "more\n" if n == 2 else ""
                expected = (0, f"{more}of-{n}\nshared\nvalue of {n}\nshared value\n", "")
                self.assertEqual(results[name], expected, f"round {number}, {name}")
            self.engine.docker("rm", *names)
            assert_nothing_stale(self, self.mayfly)

    def test_some_of_them_may_have_nothing(self):
        """Refused ones beside granted ones: each gets its own answer, also when they are mixed up at Mount."""
        self.mayfly.policy(*[grant(f"of-{n}", {"container.name": f"replica-{n}"}, f"of-{n}") for n in (0, 2, 4)])
        names = [f"replica-{n}" for n in range(6)]
        results = self.start_together({name: ["-v", "secrets:/run/secrets:ro", IMAGE, "sh", "-c",
                                              'echo "$(cat /run/secrets/of-*)"'] for name in names})
        for n, name in enumerate(names):
            if n % 2 == 0:
                self.assertEqual(results[name][:2], (0, f"value of {n}\n"), results[name])
            else:
                self.assertNotEqual(results[name][0], 0)
                self.assertNotIn("value", results[name][1], f"{name} has no grant")
        assert_nothing_stale(self, self.mayfly)


class Fifty(ReplicasCase):
    """More starts at once than there are guard groups: some wait for one, none is refused."""

    def test_fifty_containers_started_at_once_all_read_their_secret(self):
        for number in range(50):
            self.mayfly.mayfly("put", f"prod/of-{number}", "--exact", input=f"value of {number}")
        self.mayfly.policy(*[grant(f"of-{n}", {"container.name": f"many-{n}"},
                                   {"name": f"of-{n}", "as": "mine"}) for n in range(50)])
        # Not cat itself: what that has written is the file's own pages, and on a machine as busy as this one they may be
        # wiped before the engine has read them (see lease.h).
        script = 'echo "$(cat /run/secrets/mine)"'
        results = self.start_together({f"many-{n}": ["-v", "secrets:/run/secrets:ro", IMAGE, "sh", "-c", script]
                                       for n in range(50)})
        wrong = {name: result for name, result in results.items()
                 if result != (0, f"value of {name.split('-')[1]}\n", "")}
        self.assertEqual(wrong, {})
        assert_nothing_stale(self, self.mayfly, 20)

    def test_fifty_running_ones_end_at_once(self):
        self.mayfly.put("prod/shared", "shared value", "--stage")
        self.mayfly.policy(grant("many", {"container.name": "many-*"}, "shared"))
        names = [f"many-{n}" for n in range(50)]
        self.start_together({name: ["-d", "-v", "secrets:/run/secrets:ro", IMAGE, "sleep", "300"] for name in names})
        wait_for(lambda: self.mayfly.status()["released"] == 50, "all have their files", 30)
        self.assertEqual(len({self.mount_device(name) for name in names}), 50)
        self.engine.docker("kill", *names)
        assert_nothing_stale(self, self.mayfly, 20)


if __name__ == "__main__":
    unittest.main()
