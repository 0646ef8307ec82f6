"""What a Vault or OpenBao server knows, as far as a client can see it: tokens, leases, versions, wrapped answers. They live
and expire by a clock that a test moves. Speaks no HTTP: vault_server.py does. Answers have the recorded form (recordings/)."""
import base64
import datetime
import json
import secrets
import threading
import uuid

DEFAULT_KV1_LEASE = 2764800
VERSION = "2.6.1"
DENIED = ["permission denied"]
NOT_ALLOWED = ["1 error occurred:\n\t* permission denied\n\n"]
BY_DEFAULT = {  # what the policy "default" of a real server allows, as far as this one has it
    "auth/token/lookup-self": {"read"}, "auth/token/renew-self": {"update"}, "auth/token/revoke-self": {"update"},
    "sys/leases/renew": {"update"}, "sys/leases/lookup": {"update"}, "sys/wrapping/*": {"update"},
    "sys/capabilities-self": {"update"}, "sys/internal/ui/mounts/*": {"read"}}
VERBS = {"GET": "read", "HEAD": "read", "LIST": "list", "POST": "update", "PUT": "update", "DELETE": "delete"}


class Answer(Exception):
    """How a request ends: a status and a body, raised from wherever it is decided."""

    def __init__(self, status, body=None):
        super().__init__(status)
        self.status, self.body = status, body


def refuse(status, *errors):
    raise Answer(status, {"errors": list(errors)})


class Clock:
    """Seconds since 1970 that a test may move on."""

    def __init__(self):
        self.ahead = 0.0

    def now(self):
        return datetime.datetime.now(datetime.timezone.utc).timestamp() + self.ahead

    def forward(self, seconds):
        self.ahead += seconds


def rfc3339(seconds):
    when = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def seconds_of(text):
    """A duration as the server takes it: 30, "30", "30s", "1h"."""
    text = str(text)
    units = {"s": 1, "m": 60, "h": 3600}
    return int(float(text[:-1]) * units[text[-1]]) if text[-1:] in units else int(text)


def duration_text(seconds):
    """As Go's programs print one: 1m30s."""
    text = ""
    for unit, length in (("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= length:
            text += f"{int(seconds // length)}{unit}"
            seconds %= length
    return text or "0s"


def in_order(data):
    """Maps are written by their sorted keys, as Go does it."""
    return {key: in_order(data[key]) for key in sorted(data)} if isinstance(data, dict) else data


class Token:
    def __init__(self, ident, accessor, policies, role, ttl, max_ttl, kind, now, path):
        self.id, self.accessor, self.policies, self.role = ident, accessor, policies, role
        self.ttl, self.max_ttl, self.kind, self.issued, self.path = ttl, max_ttl, kind, now, path
        self.expires = now + ttl if ttl else None
        self.renewed = None
        self.entity = str(uuid.uuid4())


class State:
    """One server's. Every public function is called with the lock held (by vault_server.py, or a test's `with`)."""

    def __init__(self, clock=None):
        self.lock = threading.RLock()
        self.clock = clock or Clock()
        self.initialised, self.sealed, self.standby = True, False, False
        self.tokens, self.leases, self.roles, self.secret_ids, self.wrapped = {}, {}, {}, {}, {}
        self.users = set()            # of the database behind "database": who could log in
        self.databases = {}           # role -> (ttl, max_ttl)
        self.mounts = {}              # "secret" -> {"kind": "kv", "version": 2, "data": {}}
        self.policies = {"default": BY_DEFAULT}
        self.certificates, self.jwts = {}, {}   # subject's CN -> role, token text -> role
        self.next_ids = []            # what the next tokens are called, for the recordings
        self.quota = None
        self.namespace = ""

    # --- What a test sets up. ---

    def mount(self, name, version=2):
        self.mounts[name] = {"version": version, "data": {}, "accessor": f"kv_{secrets.token_hex(4)}", "uuid": str(uuid.uuid4())}

    def role(self, name, policies=("app",), ttl=3600, max_ttl=86400, kind="service", role_id=None):
        self.roles[name] = {"role_id": role_id or str(uuid.uuid4()), "policies": sorted({*policies, "default"}), "ttl": ttl,
                            "max_ttl": max_ttl, "kind": kind}
        return self.roles[name]["role_id"]

    def secret_id(self, role, uses=0, ttl=0, ident=None):
        ident = ident or str(uuid.uuid4())
        self.secret_ids[ident] = {"role": role, "uses": uses, "expires": self.clock.now() + ttl if ttl else None}
        return ident

    def wrap_secret_id(self, role, ttl=60, ident=None):
        ident = ident or self.new_id()
        data = {"secret_id": self.secret_id(role, 20, 600), "secret_id_accessor": str(uuid.uuid4()), "secret_id_num_uses": 20,
                "secret_id_ttl": 600}
        self.wrapped[ident] = {"data": data, "path": f"auth/approle/role/{role}/secret-id", "ttl": ttl, "made": self.clock.now()}
        return ident

    def token(self, policies=("app",), ttl=3600, max_ttl=86400, kind="service", role="", ident=None, path="auth/token/create"):
        ident = ident or self.new_id(kind)
        accessor = "" if kind == "batch" else secrets.token_hex(12)
        token = Token(ident, accessor, sorted(policies), role, ttl, max_ttl, kind, self.clock.now(), path)
        self.tokens[ident] = token
        return token

    def new_id(self, kind="service"):
        if self.next_ids:
            return self.next_ids.pop(0)
        return ("b." if kind == "batch" else "s.") + secrets.token_urlsafe(18)

    def kv_put(self, mount, path, data, custom=None):
        """As if an operator had written it. Returns the version."""
        where = self.mounts[mount]
        if where["version"] == 1:
            where["data"][path] = dict(data)
            return 0
        entry = where["data"].setdefault(path, self.new_entry())
        if custom:
            entry["custom"] = custom
        number = entry["current"] = entry["current"] + 1
        now = self.clock.now()
        entry["updated"] = now
        entry["versions"][number] = {"data": data, "created": now, "deletion": now + entry["delete_after"]
                                     if entry["delete_after"] else None, "destroyed": False}
        return number

    def new_entry(self):
        return {"current": 0, "versions": {}, "custom": None, "delete_after": 0, "created": self.clock.now(), "updated": 0,
                "cas_required": False}

    def revoke_token(self, ident):
        self.tokens.pop(ident, None)
        for lease in [lease for lease, entry in self.leases.items() if entry["token"] == ident]:
            self.revoke_lease(lease)

    def revoke_lease(self, ident):
        entry = self.leases.pop(ident, None)
        if entry:
            self.users.discard(entry["user"])

    def expire(self):
        now = self.clock.now()
        for token in [t for t in self.tokens.values() if t.expires is not None and t.expires <= now]:
            self.revoke_token(token.id)
        for lease in [ident for ident, entry in self.leases.items() if entry["expires"] <= now]:
            self.revoke_lease(lease)

    # --- Requests. ---

    def answer(self, method, path, headers, body, certificate=None):
        """Returns (status, extra headers, body or None)."""
        with self.lock:
            self.expire()
            extra = {}
            try:
                self.dispatch(method, path, headers, body, certificate, extra)
            except Answer as answer:
                return answer.status, extra, answer.body
            raise AssertionError("a request without an answer")

    def dispatch(self, method, path, headers, body, certificate, extra):
        path, _, query = path.removeprefix("/v1/").partition("?")
        query = dict(part.partition("=")[::2] for part in query.split("&") if part)
        if path in ("sys/health", "sys/seal-status"):
            self.about_itself(method, path)
        if self.sealed or not self.initialised:
            refuse(503, "Vault is sealed")
        self.count(path, extra)
        if headers.get("x-vault-namespace", "").strip("/") != self.namespace:
            refuse(404)
        if method not in VERBS and method != "PATCH":
            refuse(405)
        body = self.parse(body)
        if path.startswith("auth/") and path.endswith("/login"):
            self.login(path, body, certificate)
        if path == "sys/wrapping/lookup":
            self.wrapping_lookup(body)
        if path == "sys/wrapping/unwrap":
            self.unwrap(headers, body)
        token = self.token_of(headers)
        self.routed("LIST" if query.get("list") == "true" and method == "GET" else method, path, query, headers, body, token)

    def parse(self, body):
        if not body:
            return {}
        try:
            return json.loads(body)
        except ValueError:
            refuse(400, "failed to decode JSON input: unexpected EOF")

    def count(self, path, extra):
        if not self.quota:
            return
        now = self.clock.now()
        if now >= self.quota["until"]:
            self.quota.update(until=now + self.quota["interval"], left=self.quota["limit"])
        if self.quota["headers"]:
            extra["X-Ratelimit-Limit"] = str(self.quota["limit"])
            extra["X-Ratelimit-Remaining"] = str(max(0, self.quota["left"] - 1))
        if self.quota["left"] == 0:
            if self.quota["headers"]:
                extra["Retry-After"] = str(int(self.quota["until"] - now))
            refuse(429, f'request path "{path}": rate limit quota exceeded')
        self.quota["left"] -= 1

    def set_quota(self, limit, interval, headers=True):
        self.quota = {"limit": limit, "interval": interval, "headers": headers, "until": 0, "left": limit}

    def about_itself(self, method, path):
        shut = self.sealed or not self.initialised
        if path == "sys/seal-status":
            shares = 1 if self.initialised else 0
            raise Answer(200, {"type": "shamir", "initialized": self.initialised, "sealed": shut, "t": shares, "n": shares,
                               "progress": 0, "nonce": "", "recovery_seal": False, "version": VERSION, "commit_date": "",
                               "migration": False, "storage_type": "file"})
        if method not in ("GET", "HEAD"):
            refuse(405)
        body = {"initialized": self.initialised, "sealed": shut, "standby": shut or self.standby,
                "replication_performance_mode": "unknown" if shut else "disabled",
                "replication_dr_mode": "unknown" if shut else "disabled", "server_time_utc": int(self.clock.now()), "version": VERSION}
        if not shut:
            body |= {"cluster_name": "vault-cluster-bac6a244", "cluster_id": "3fbf2f2d-d7c1-bcfe-1bea-4d3e774b3847"}
        status = 501 if not self.initialised else 503 if self.sealed else 429 if self.standby else 200
        raise Answer(status, None if method == "HEAD" else body)

    def envelope(self, **more):
        return {"request_id": str(uuid.uuid4()), "lease_id": "", "renewable": False, "lease_duration": 0, "data": None,
                "wrap_info": None, "warnings": None, "auth": None} | more

    def give(self, data, status=200, **more):
        raise Answer(status, self.envelope(data=in_order(data), **more))

    def token_of(self, headers):
        ident = headers.get("x-vault-token") or headers.get("authorization", "").removeprefix("Bearer ")
        token = self.tokens.get(ident)
        if not token:
            refuse(403, *DENIED)
        return token

    def may(self, token, path, capability):
        if "root" in token.policies:
            return True
        for name in token.policies:
            for pattern, allowed in self.policies.get(name, {}).items():
                if (path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern) and capability in allowed:
                    return True
        return False

    def routed(self, method, path, query, headers, body, token):
        if method == "PATCH" or not self.may(token, path, VERBS[method]):
            if method == "POST" and self.may(token, path, "create"):
                pass
            else:
                refuse(403, *NOT_ALLOWED)
        head, _, rest = path.partition("/")
        if path.startswith("auth/token/"):
            self.own_token(path.removeprefix("auth/token/"), body, token)
        elif path.startswith("auth/approle/role/"):
            self.make_secret_id(path, headers)
        elif path.startswith("sys/leases/"):
            self.about_lease(path.removeprefix("sys/leases/"), body)
        elif path == "sys/capabilities-self":
            self.capabilities(body, token)
        elif path.startswith("sys/internal/ui/mounts/"):
            self.mount_details(path.removeprefix("sys/internal/ui/mounts/"))
        elif head == "database" and rest.startswith("creds/"):
            self.credentials(rest.removeprefix("creds/"), token)
        elif head not in self.mounts:
            refuse(403 if "root" not in token.policies else 404, *(NOT_ALLOWED if "root" not in token.policies else []))
        elif self.mounts[head]["version"] == 1:
            self.kv1(method, self.mounts[head], rest, body)
        else:
            self.kv2(method, self.mounts[head], rest, query, body)
        raise AssertionError(path)

    # --- Logins and tokens. ---

    def auth(self, token, warnings=None):
        now = self.clock.now()
        raise Answer(200, self.envelope(warnings=warnings, auth={
            "client_token": token.id, "accessor": token.accessor, "policies": token.policies, "token_policies": token.policies,
            "metadata": {"role_name": token.role}, "lease_duration": round(token.expires - now) if token.expires else 0,
            "renewable": token.kind == "service", "entity_id": token.entity, "token_type": token.kind, "orphan": True,
            "mfa_requirement": None, "num_uses": 0}))

    def login(self, path, body, certificate):
        kind = path.split("/")[1]
        if kind.startswith("approle"):
            role = self.login_approle(body)
        elif kind.startswith("cert"):
            role = self.certificates.get(certificate)
            if not role:
                refuse(400, "invalid certificate or no client certificate supplied")
        else:
            role = self.jwts.get(body.get("jwt"))
            if not role or body.get("role") != role:
                refuse(400, "error validating token: invalid audience (aud) claim" if role else "invalid role")
        about = self.roles[role]
        self.auth(self.token(about["policies"], about["ttl"], about["max_ttl"], about["kind"], role, path=path))

    def login_approle(self, body):
        if "secret_id" not in body:
            refuse(400, "missing secret_id")
        entry = self.secret_ids.get(body["secret_id"])
        role = entry and entry["role"]
        now = self.clock.now()
        if not entry or self.roles[role]["role_id"] != body.get("role_id") or (entry["expires"] or now + 1) <= now:
            refuse(400, "invalid role or secret ID")
        if entry["uses"]:
            entry["uses"] -= 1
            if entry["uses"] == 0:
                del self.secret_ids[body["secret_id"]]
        return role

    def own_token(self, what, body, token):
        if what == "lookup-self":
            self.lookup_self(token)
        if what == "revoke-self":
            self.revoke_token(token.id)
            raise Answer(204)
        if what != "renew-self":
            refuse(404)
        if token.kind == "batch":
            refuse(400, "batch tokens cannot be renewed")
        now = self.clock.now()
        asked = seconds_of(body.get("increment", token.ttl))
        end = token.issued + token.max_ttl
        warnings = None
        if asked > token.max_ttl:
            warnings = [f'TTL of "{body["increment"]}" exceeded the effective max_ttl of "{duration_text(token.max_ttl)}"; '
                        "TTL value is capped accordingly"]
        token.expires, token.renewed = min(now + asked, end), now
        self.auth(token, warnings)

    def lookup_self(self, token):
        now = self.clock.now()
        data = {"accessor": token.accessor, "creation_time": int(token.issued), "creation_ttl": token.ttl,
                "display_name": "approle" if "approle" in token.path else "token", "entity_id": token.entity,
                "expire_time": rfc3339(token.expires) if token.expires else None, "explicit_max_ttl": 0, "id": token.id,
                "issue_time": rfc3339(token.issued), "meta": {"role_name": token.role}, "num_uses": 0, "orphan": True,
                "path": token.path, "policies": token.policies, "renewable": token.kind == "service",
                "ttl": round(token.expires - now) if token.expires else 0, "type": token.kind}
        if token.renewed:
            data |= {"last_renewal": rfc3339(token.renewed), "last_renewal_time": int(token.renewed)}
        self.give(data)

    def make_secret_id(self, path, headers):
        role = path.split("/")[3]
        ttl = seconds_of(headers.get("x-vault-wrap-ttl", "60s"))
        ident = self.wrap_secret_id(role, ttl)
        entry = self.wrapped[ident]
        raise Answer(200, self.envelope(request_id="", wrap_info={
            "token": ident, "accessor": base64.b64encode(secrets.token_bytes(18)).decode(), "ttl": ttl,
            "creation_time": rfc3339(entry["made"]), "creation_path": path, "wrapped_accessor": str(uuid.uuid4())}))

    def wrapping(self, ident):
        entry = self.wrapped.get(ident)
        if not entry or entry["made"] + entry["ttl"] <= self.clock.now():
            refuse(400, "wrapping token is not valid or does not exist")
        return entry

    def wrapping_lookup(self, body):
        entry = self.wrapping(body.get("token"))
        self.give({"creation_path": entry["path"], "creation_time": rfc3339(entry["made"]), "creation_ttl": entry["ttl"]})

    def unwrap(self, headers, body):
        ident = body.get("token") or headers.get("x-vault-token")
        entry = self.wrapping(ident)
        del self.wrapped[ident]
        self.give(entry["data"])

    def capabilities(self, body, token):
        found = {path: sorted(c for c in ("create", "read", "update", "delete", "list") if self.may(token, path, c)) or ["deny"]
                 for path in body.get("paths", [])}
        self.give(found | {"capabilities": next(iter(found.values()), [])})

    # --- Secrets. ---

    def mount_details(self, path):
        name = path.partition("/")[0]
        where = self.mounts.get(name)
        if not where:
            refuse(403, "preflight capability check returned 403, please ensure client's policies grant access to path \"" + path + "\"")
        self.give({"accessor": where["accessor"], "config": {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0},
                   "deprecation_status": "supported", "description": "", "external_entropy_access": False, "local": False,
                   "options": {"version": str(where["version"])}, "path": name + "/", "plugin_version": "",
                   "running_plugin_version": f"v{VERSION}+builtin.bao", "running_sha256": "", "seal_wrap": False, "type": "kv",
                   "uuid": where["uuid"]})

    def kv1(self, method, where, path, body):
        if method == "LIST":
            self.listed(where, path)
        if method in ("POST", "PUT"):
            where["data"][path] = body
            raise Answer(204)
        if method == "DELETE":
            where["data"].pop(path, None)
            raise Answer(204)
        if path not in where["data"]:
            refuse(404)
        data = where["data"][path]
        self.give(data, lease_duration=seconds_of(data["ttl"]) if "ttl" in data else DEFAULT_KV1_LEASE)

    def listed(self, where, path):
        prefix = path.rstrip("/") + "/" if path else ""
        names = {name[len(prefix):] for name in where["data"] if name.startswith(prefix)}
        keys = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in names})
        if not keys:
            refuse(404)
        self.give({"keys": keys})

    def kv2(self, method, where, path, query, body):
        what, _, path = path.partition("/")
        if what == "metadata":
            self.kv2_metadata(method, where, path, body)
        if what in ("delete", "undelete", "destroy"):
            self.kv2_versions(what, where, path, body)
        if what != "data":
            raise Answer(404, self.envelope(warnings=[
                "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If "
                "using the OpenBao CLI, use 'bao kv get' for this operation."]))
        if method == "GET":
            self.kv2_read(where, path, int(query.get("version", 0)))
        if method == "DELETE":
            entry = where["data"].get(path)
            if entry:
                entry["versions"][entry["current"]]["deletion"] = self.clock.now()
            raise Answer(204)
        self.kv2_write(where, path, body)

    def version_metadata(self, entry, number):
        version = entry["versions"][number]
        return {"created_time": rfc3339(version["created"]), "custom_metadata": entry["custom"],
                "deletion_time": rfc3339(version["deletion"]) if version["deletion"] else "", "destroyed": version["destroyed"],
                "version": number}

    def kv2_read(self, where, path, number):
        entry = where["data"].get(path)
        number = number or (entry["current"] if entry else 0)
        version = entry and entry["versions"].get(number)
        if not version:
            refuse(404)
        gone = version["destroyed"] or (version["deletion"] is not None and version["deletion"] <= self.clock.now())
        data = {"data": None if gone else version["data"], "metadata": self.version_metadata(entry, number)}
        self.give(data, status=404 if gone else 200)

    def kv2_write(self, where, path, body):
        entry = where["data"].get(path)
        options = body.get("options") or {}
        if "cas" in options and options["cas"] != (entry["current"] if entry else 0):
            refuse(400, "check-and-set parameter did not match the current version")
        if entry and entry["cas_required"] and "cas" not in options:
            refuse(400, "check-and-set parameter required for this call")
        number = self.kv_put(next(n for n, m in self.mounts.items() if m is where), path, body.get("data") or {})
        self.give(self.version_metadata(where["data"][path], number))

    def kv2_metadata(self, method, where, path, body):
        if method == "LIST":
            self.listed(where, path)
        if method in ("POST", "PUT"):
            entry = where["data"].setdefault(path, self.new_entry())
            entry["custom"] = body.get("custom_metadata", entry["custom"])
            entry["delete_after"] = seconds_of(body.get("delete_version_after", entry["delete_after"]))
            raise Answer(204)
        entry = where["data"].get(path)
        if not entry:
            refuse(404)
        if method == "DELETE":
            del where["data"][path]
            raise Answer(204)
        self.give({"cas_required": entry["cas_required"], "created_time": rfc3339(entry["created"]), "current_metadata_version": 0,
                   "current_version": entry["current"], "custom_metadata": entry["custom"],
                   "delete_version_after": duration_text(entry["delete_after"]), "max_versions": 0, "metadata_cas_required": False,
                   "oldest_version": 0, "updated_time": rfc3339(entry["updated"] or entry["created"]),
                   "versions": {str(n): {key: value for key, value in self.version_metadata(entry, n).items()
                                         if key in ("created_time", "deletion_time", "destroyed")} for n in entry["versions"]}})

    def kv2_versions(self, what, where, path, body):
        entry = where["data"].get(path, self.new_entry())
        for number in body.get("versions", []):
            version = entry["versions"].get(number)
            if version and what == "destroy":
                version.update(destroyed=True, data=None)
            elif version:
                version["deletion"] = self.clock.now() if what == "delete" else None
        raise Answer(204)

    # --- Dynamic credentials. ---

    def credentials(self, role, token):
        if role not in self.databases:
            refuse(400, f"unknown role: {role}")
        ttl, max_ttl = self.databases[role]
        now = self.clock.now()
        user = f"v-approle-{role}-{secrets.token_hex(10)}-{int(now)}"
        lease = f"database/creds/{role}/{secrets.token_urlsafe(18).replace('-', 'x').replace('_', 'y')}"
        self.users.add(user)
        self.leases[lease] = {"token": token.id, "user": user, "issued": now, "expires": now + ttl, "ttl": ttl, "max_ttl": max_ttl,
                              "path": f"database/creds/{role}", "renewed": None}
        raise Answer(200, self.envelope(lease_id=lease, renewable=True, lease_duration=ttl,
                                        data={"password": secrets.token_urlsafe(15), "username": user}))

    def about_lease(self, what, body):
        ident = body.get("lease_id", "")
        if what == "revoke":
            self.revoke_lease(ident)
            raise Answer(204)
        entry = self.leases.get(ident)
        now = self.clock.now()
        if what == "lookup":
            if not entry:
                refuse(400, "invalid lease")
            self.give({"expire_time": rfc3339(entry["expires"]), "id": ident, "issue_time": rfc3339(entry["issued"]),
                       "last_renewal": rfc3339(entry["renewed"]) if entry["renewed"] else None, "path": entry["path"],
                       "renewable": True, "ttl": int(entry["expires"] - now)})
        if what != "renew":
            refuse(404)
        if not entry:
            refuse(400, "lease not found")
        asked = seconds_of(body.get("increment", entry["ttl"]))
        end = entry["issued"] + entry["max_ttl"]
        warnings = None
        if asked > entry["max_ttl"]:
            warnings = [f'TTL of "{duration_text(asked)}" exceeded the effective max_ttl of "{duration_text(entry["max_ttl"])}"; '
                        "TTL value is capped accordingly"]
        entry["expires"], entry["renewed"] = min(now + asked, end), now
        raise Answer(200, self.envelope(lease_id=ident, renewable=True, lease_duration=round(entry["expires"] - now),
                                        warnings=warnings))
