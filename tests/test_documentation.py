"""What is written about the software is what it is: settings, commands, transactions, and the README's commands as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import DCMTK, program
from tests.running import RunningServer
from xds import config
from xds.cli.reference import reference
from xds.transactions.table import MODULES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "xds" / "docs"
README = ROOT / "README.md"


def test_settings_page_is_current() -> None:
    """Renew it with `xds config --describe > xds/docs/configuration.md`."""
    assert (DOCS / "configuration.md").read_text("utf-8") == config.describe()


def test_commands_page_is_current() -> None:
    """Renew it with `python -m xds.cli.reference > xds/docs/commands.md`."""
    assert (DOCS / "commands.md").read_text("utf-8") == reference()


def test_every_command_and_option_says_what_it_is() -> None:
    rows = re.findall(r"^\| `(.+?)` \| (.*) \|$", reference(), flags=re.MULTILINE)
    assert len(rows) > 50
    assert [term for term, meaning in rows if not meaning] == []
    sections = reference().split("\n## ")[1:]
    assert [
        section.splitlines()[0] for section in sections if "Examples" not in section and "`xds transactions`" not in section
    ] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.TRANSACTION.id)
def test_every_transaction_is_documented(module: object) -> None:
    transaction = module.TRANSACTION  # type: ignore[attr-defined]
    (row,) = re.findall(rf"^\| {transaction.id} .*", (DOCS / "transactions.md").read_text("utf-8"), flags=re.MULTILINE)
    assert (f"`{transaction.path}`" if transaction.path else "MLLP") in row
    assert all(trigger.partition("^")[2] in row for trigger in transaction.triggers if trigger.startswith("ADT"))


def test_every_client_is_in_the_table_of_transactions() -> None:
    clients = set(re.findall(r"^## `xds send (\w+)", reference(), flags=re.MULTILINE))
    shown = set(re.findall(r"`xds send (\w+)`", (DOCS / "transactions.md").read_text("utf-8")))
    assert clients == shown


@pytest.mark.parametrize("page", [README, *sorted(DOCS.glob("*.md"))], ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    assert [item for item in targets if "://" not in item and not (page.parent / item).exists()] == []


def test_readme_names_every_layer() -> None:
    text = README.read_text("utf-8")
    packages = {path.parent.name for path in (ROOT / "xds").glob("*/__init__.py")} - {"security"}
    assert [name for name in packages if f"`xds/{name}/`" not in text] == []


def test_readme_works_as_printed(tmp_path: Path) -> None:
    """Every shell block of the README in one bash, against the demo region on other ports."""
    for name, maker in (("bash", ""), ("curl", ""), ("storescu", DCMTK), ("dcmodify", DCMTK)):
        program(name, maker)
    blocks = re.findall(r"^```sh\n(.*?)^```$", README.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 7
    with RunningServer(tmp_path / "data", "--demo") as server:
        assert server.ready["demo"] == "loaded"
        script = "set -euo pipefail\n" + _with_ports("".join(blocks[1:]), server)
        folder = tmp_path / "tour"
        folder.mkdir()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "MSA|AA|TOUR1" in done.stdout
    assert "CLINIC_B" in done.stdout
    assert "Weber" in (folder / "patient.json").read_text("utf-8")
    assert "ResponseStatusType:Success" in done.stdout
    assert "Report of the CT" in done.stdout
    (image,) = (folder / "images").glob("*.dcm")
    assert image.read_bytes()[128:132] == b"DICM"
    assert b"DICM" in (folder / "study.multipart").read_bytes()


def _with_ports(script: str, server: RunningServer) -> str:
    """The usual ports replaced by those of this server; commands that rely on the default get `--to` (and `--pix`)."""
    title, host, port = server.dicom
    mllp_host, _, mllp_port = server.mllp.rpartition(":")
    script = script.replace("http://127.0.0.1:8080", server.http).replace("127.0.0.1/2575", f"{mllp_host}/{mllp_port}")
    script = script.replace(f"{title} 127.0.0.1 11112", f"{title} {host} {port}")
    script = re.sub(r"xds send (iti0[89])", rf"xds send \1 --to {server.mllp}", script)
    script = re.sub(r"xds send (iti18 FindDocuments)", rf"xds send \1 --to {server.http} --pix {server.mllp}", script)
    script = re.sub(r"xds send (iti4[137])", rf"xds send \1 --to {server.http}", script)
    return re.sub(r"xds fetch", rf"xds fetch --to {server.http}", script)
