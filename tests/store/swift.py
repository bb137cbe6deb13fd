"""A real OpenStack Swift with its S3 API: one proxy and the three storage servers, on one directory, for one session.

What it needs: a file system with extended attributes (they hold an object's metadata); no loop device and no mount, because
`mount_check` is off; no memcached, because tokens are not used and the address given for it refuses at once.
"""

from __future__ import annotations

import getpass
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.ports import free_port
from tests.store.servers import ObjectServer, absent, await_port, end

SERVERS = ("account", "container", "object", "proxy")
#: Seconds that the servers wait for each other.
PATIENCE = 60
USER, KEY = "test:tester", "testing"
#: The order of the filters is Swift's own for its S3 API.
PIPELINE = "catch_errors proxy-logging cache listing_formats s3api tempauth copy slo dlo symlink proxy-logging proxy-server"

_BUILD_RINGS = """
import sys
from swift.common.ring import RingBuilder
for name, port in zip(("account", "container", "object"), sys.argv[2:]):
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1", "port": int(port), "device": "disk",
                     "meta": "", "replication_ip": "127.0.0.1", "replication_port": int(port)})
    builder.rebalance()
    builder.get_ring().save(f"{sys.argv[1]}/{name}.ring.gz")
"""


@contextmanager
def running_swift(directory: Path) -> Iterator[ObjectServer]:
    """The servers in four processes, with their files and logs below `directory`."""
    if importlib.util.find_spec("swift") is None:
        absent("swift: OpenStack Swift is not installed")
    if not _has_extended_attributes(directory):
        absent("a file system with extended attributes: choose one with --basetemp")
    ports = {name: free_port() for name in SERVERS}
    (directory / "devices" / "disk").mkdir(parents=True)
    _write_configuration(directory, ports)
    subprocess.run(
        [sys.executable, "-c", _BUILD_RINGS, str(directory), *(str(ports[name]) for name in SERVERS[:3])],
        check=True,
        capture_output=True,
    )
    with ExitStack() as stack:
        processes = {name: _started(name, directory) for name in SERVERS}
        for process in processes.values():
            stack.callback(end, process)
        for name, process in processes.items():
            await_port(ports[name], process, directory / f"{name}.log")
        yield ObjectServer(f"http://127.0.0.1:{ports['proxy']}", USER, KEY, directory / "devices")


def _started(name: str, directory: Path) -> subprocess.Popen[bytes]:
    program = Path(sys.executable).parent / f"swift-{name}-server"
    with (directory / f"{name}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, program, directory / f"{name}.conf", "--verbose"], stdout=log, stderr=log)


def _write_configuration(directory: Path, ports: dict[str, int]) -> None:
    (directory / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = tests\nswift_hash_path_suffix = tests\n"
        "[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    for name in SERVERS:
        common = (
            f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {ports[name]}\nworkers = 0\nuser = {getpass.getuser()}\n"
            f"swift_dir = {directory}\ndevices = {directory / 'devices'}\nmount_check = false\n"
            f"log_name = {name}\nlog_level = WARNING\ncontainer_update_timeout = {PATIENCE}\n"
        )
        rest = (
            _PROXY
            if name == "proxy"
            else f"[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n{_PATIENT}"
        )
        (directory / f"{name}.conf").write_text(common + rest)


#: By themselves they wait for each other for half a second or a few, and then leave a listing as it was, or a server alone.
_PATIENT = f"conn_timeout = {PATIENCE}\nnode_timeout = {PATIENCE}\n"
_PROXY = f"""
[pipeline:main]
pipeline = {PIPELINE}
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
error_suppression_limit = 1000000
{_PATIENT}
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_{USER.replace(":", "_")} = {KEY} .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:9
""" + "".join(
    f"[filter:{name}]\nuse = egg:swift#{name.replace('-', '_')}\n"
    for name in ("catch_errors", "proxy-logging", "listing_formats", "copy", "slo", "dlo", "symlink")
)


def _has_extended_attributes(directory: Path) -> bool:
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        try:
            os.setxattr(file.name, "user.swift.metadata", b"x" * 1000)
        except OSError:
            return False
    return True
