"""A real Apache Kafka (KRaft, one node) for tests and benchmarks, started and stopped from Python.

Its jars are fetched once by Maven from tests/kafka/pom.xml into a cache folder. Run by hand, it
starts a broker and waits: `python tests/kafka_broker.py`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

POM = Path(__file__).parent / "kafka" / "pom.xml"
START_S_MAX = 60
FETCH_S_MAX = 600

SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
"""


def missing() -> str | None:
    """Say what stands in the way of a broker, None if nothing does."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            return f"no {program} on this machine (a JDK 17 or later and Maven are needed)"
    return None


def jars() -> Path:
    """Return the folder of Kafka's jars, fetched if they are not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "askagain"
    folder = cache / f"kafka-{sha256(POM.read_bytes()).hexdigest()[:12]}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        fetched = Path(tempfile.mkdtemp(dir=cache))
        subprocess.run(
            ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies",
             f"-DoutputDirectory={fetched}"],
            check=True, timeout=FETCH_S_MAX,
        )  # fmt: skip
        try:
            fetched.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(fetched)
    return folder


class Broker:
    """One broker on a free loopback port, its data in a folder of its own that goes with it."""

    def __init__(self, heap: str = "512m") -> None:
        self._heap = heap
        self._folder = Path(tempfile.mkdtemp(prefix="askagain-kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port, controller = _free_ports(2)
        self.address = f"127.0.0.1:{self.port}"
        text = SETTINGS.format(port=self.port, controller=controller, folder=self._folder)
        (self._folder / "server.properties").write_text(text)
        (self._folder / "log4j2.yaml").write_text(
            "Configuration:\n  Loggers:\n    Root:\n      level: 'OFF'\n"
        )

    def __enter__(self) -> Broker:
        identity = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        while identity.startswith("-"):
            identity = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        self._java("kafka.tools.StorageTool", "format", "-t", identity, "-c").wait(START_S_MAX)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _java(self, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        out = (self._folder / "out.txt").open("ab")
        return subprocess.Popen(
            [
                "java", f"-Xmx{self._heap}", "-Xms128m", "-XX:+UseSerialGC",
                f"-Dlog4j2.configurationFile={self._folder}/log4j2.yaml",
                "-cp", f"{jars()}/*", main, *arguments, str(self._folder / "server.properties"),
            ],
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._process = self._java("kafka.Kafka")
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        text = (self._folder / "out.txt").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"Kafka did not start: {text}")

    def stop(self) -> None:
        """Stop it, as an operator would."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop it and start it again over the same data."""
        self.stop()
        self.start()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


if __name__ == "__main__":
    with Broker() as broker:
        print(broker.address, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
