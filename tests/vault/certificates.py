"""Authorities and certificates for tests, made by openssl in a directory of the test's."""
import pathlib
import ssl
import subprocess


class Tls:
    def __init__(self, directory, name="ca"):
        self.directory = pathlib.Path(directory)
        self.name = name
        self.ca = str(self.directory / f"{name}.pem")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                     "-subj", f"/CN=test {name}", "-keyout", self.directory / f"{name}.key", "-out", self.ca)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=self.directory)

    def issue(self, name, host="IP:127.0.0.1,DNS:localhost", start=None, end=None, self_signed=False):
        """A certificate and its key, for a server at HOST or a client NAME. START and END as YYYYMMDDHHMMSSZ."""
        key, request, cert = (self.directory / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                     "-keyout", key, "-out", request)
        key.chmod(0o600)
        if self_signed:
            self.openssl("req", "-x509", "-key", key, "-days", "30", "-subj", f"/CN={name}", "-addext", f"subjectAltName={host}",
                         "-out", cert)
            return str(cert), str(key)
        home = self.directory / f"{name}.ca"
        home.mkdir()
        (home / "index").write_text("")
        (home / "config").write_text(
            f"[ca]\ndefault_ca=a\n[a]\ndatabase={home}/index\nnew_certs_dir={home}\nserial={home}/serial\ndefault_md=sha256\n"
            f"policy=p\nunique_subject=no\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName={host}\n")
        dates = ["-startdate", start or "20200101000000Z", "-enddate", end or "20491231000000Z"]
        self.openssl("ca", "-batch", "-notext", "-config", home / "config", "-cert", self.ca, "-keyfile",
                     self.directory / f"{self.name}.key", "-rand_serial", "-in", request, "-out", cert, *dates)
        return str(cert), str(key)

    def server_context(self, name, client_ca=False, **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, **options))
        if client_ca:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context
