"""Commands that need no server: help, settings, manual, messages that are only printed, and wrong usage."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree
from pydicom.data import get_testdata_file
from typer.core import TyperGroup

import xds as package
from tests.cli.commands import Commands
from xds.cli.commands import root
from xds.cli.later import Later
from xds.transactions.table import MODULES
from xds.wire import hl7v2

PATIENT = "PAT1^^^HOSP_A&1.2.3&ISO"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without `xds.toml`, and no colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("command", [(), ("serve",), ("send",), ("send", "iti18"), ("publish",), ("fetch",), ("import", "dicom")])
def test_help_teaches(xds: Commands, command: tuple[str, ...]) -> None:
    outcome = xds(*command, "--help")
    assert outcome.code == 0
    assert "xds" in outcome.out
    assert "Examples" in outcome.out or command in {(), ("send",)}


def test_a_list_of_commands_says_what_its_commands_say() -> None:
    def listed(group: TyperGroup) -> Iterator[Later]:
        for command in group.commands.values():
            if isinstance(command, Later):
                yield command
                if isinstance(loaded := command.loaded(), TyperGroup):
                    yield from listed(loaded)

    for command in listed(root):
        first_paragraph = command.loaded().help.partition("\n\n")[0]
        assert command.summary == " ".join(first_paragraph.split())


@pytest.mark.parametrize(
    "command", [("--help",), ("--version",), ("config",), ("docs", "connect"), ("send", "--help"), ("admin", "--help")]
)
def test_small_commands_load_no_large_libraries(command: tuple[str, ...]) -> None:
    script = (
        "import atexit, sys\n"
        "large = {'numpy', 'pydicom', 'pynetdicom', 'lxml', 'sqlalchemy', 'spyne', 'flask'}\n"
        "atexit.register(lambda: print('loaded:', *large & set(sys.modules)))\n"
        "from xds.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nloaded:\n")


def test_version(xds: Commands) -> None:
    assert xds("--version").out.strip() == f"xds {package.__version__}"


def test_transactions_are_listed(xds: Commands) -> None:
    assert [row[0] for row in xds("transactions").rows] == [module.TRANSACTION.id for module in MODULES]
    listed = json.loads(xds("transactions", "--json").out)
    assert {"id": "ITI-18", "path": "/services/registry"}.items() <= next(
        item for item in listed if item["id"] == "ITI-18"
    ).items()


def test_settings_tell_where_they_come_from(xds: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDS__SERVER__AE_TITLE", "OTHER")
    monkeypatch.setenv("XDS__DATABASE__URL", "postgresql+psycopg://u:secret@h/d")
    outcome = xds("config")
    assert ["server.ae_title", "OTHER", "environment XDS__SERVER__AE_TITLE"] in outcome.rows
    assert "secret" not in outcome.out
    assert json.loads(xds("config", "--json").out)["server.host"] == {"value": "127.0.0.1", "source": "default"}


def test_a_wrong_setting_is_wrong_usage(xds: Commands, tmp_path: Path) -> None:
    (tmp_path / "xds.toml").write_text("[server]\nhtpt_port = 1\n")
    outcome = xds("config")
    assert outcome.code == 2
    assert "server.http_port" in outcome.err


def test_the_server_does_not_start_without_what_was_configured(xds: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDS__SECURITY__REQUIRE_ASSERTION", "true")
    outcome = xds("serve")
    assert outcome.code == 2
    assert "security.require_assertion" in outcome.err


def test_manual(xds: Commands) -> None:
    assert ["configuration", "Settings"] in xds("docs").rows
    assert xds("docs", "configuration").out.startswith("# Settings")
    outcome = xds("docs", "nothing")
    assert outcome.code == 2
    assert "configuration" in outcome.err


def test_a_query_is_written_as_the_standard_writes_it(xds: Commands) -> None:
    outcome = xds(
        "send", "iti18", "find-documents", "--dry-run", "--patient", "P1^^^&1.2.3&ISO", "XDSDocumentEntryClassCode=a^^1.2",
        "XDSDocumentEntryCreationTimeFrom=2026", "$XDSDocumentEntryStatus=deprecated",
    )  # fmt: skip
    root = etree.fromstring(outcome.out)
    slots = {slot.get("name"): slot.xpath("string(.//*[local-name()='Value'])") for slot in root.iter("{*}Slot")}
    assert slots == {
        "$XDSDocumentEntryPatientId": "'P1^^^&1.2.3&ISO'",
        "$XDSDocumentEntryClassCode": "('a^^1.2')",
        "$XDSDocumentEntryCreationTimeFrom": "2026",
        "$XDSDocumentEntryStatus": "('urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated')",
    }


def test_a_quote_in_a_value_is_doubled(xds: Commands) -> None:
    outcome = xds("send", "iti18", "GetDocuments", "--dry-run", "XDSDocumentEntryUniqueId=it's")
    assert "('it''s')" in outcome.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("iti18", "NoSuchQuery"),
        ("iti18", "FindDocuments", "NoSuchParameter=1"),
        ("iti18", "FindDocuments", "XDSDocumentEntryClassCode"),
        ("iti18", "GetDocuments", "--patient", "P1^^^&1.2.3&ISO"),
        ("iti18", "FindDocuments", "--patient", "P1^^^&1.2.3&ISO", "--to", "ftp://host"),
        ("iti18", "FindDocuments", "--patient", "P1^^^&1.2.3&ISO", "--json", "--xml"),
        ("iti41", "absent.pdf", "--patient", "P1^^^&1.2.3&ISO"),
        ("iti41", "absent.pdf"),
        ("iti41", "/", "--patient", "P1^^^&1.2.3&ISO"),
        ("iti18", "FindDocuments", "--patient", "P1^^^&1.2.3&ISO", "--timeout", "-1"),
        ("iti18", "FindDocuments", "--patient", "P1^^^&1.2.3&ISO", "--to", "http://host:port"),
        ("iti09", "--patient", PATIENT, "--to", "host:port"),
        ("iti42", "absent.xml"),
        ("iti08",),
        ("iti08", "--patient", PATIENT, "--event", "merge"),
        ("iti09", "--patient", "nobody"),
        ("iti09", "--patient", PATIENT, "--to", "host"),
        ("rad08", "absent.dcm"),
        ("rad08", __file__),
        ("rad107", "--study", "1.2", "--instance", "1.2.3"),
        ("nothing",),
    ],
)
def test_wrong_usage_is_2_and_one_plain_sentence(xds: Commands, arguments: tuple[str, ...]) -> None:
    outcome = xds("send", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err
    assert "Traceback" not in outcome.err


def test_a_feed_is_an_adt_message(xds: Commands) -> None:
    outcome = xds(
        "send", "iti08", "--patient", PATIENT, "--name", "Weber^Léna", "--birth-date", "19900415", "--sex", "F", "--dry-run"
    )
    message = hl7v2.read(outcome.out.replace("\n", "\r").encode())
    assert (message.message_type, message.event) == ("ADT", "A01")
    assert (message.get("PID-3"), message.get("PID-3.4.2"), message.get("PID-5.2")) == ("PAT1", "1.2.3", "Léna")


def test_a_merge_names_both(xds: Commands) -> None:
    arguments = ("--event", "merge", "--patient", PATIENT, "--subsumed", "PAT2^^^HOSP_A&1.2.3&ISO", "--name", "W", "--dry-run")
    message = hl7v2.read(xds("send", "iti08", *arguments).out.replace("\n", "\r").encode())
    assert (message.event, message.get("PID-3"), message.get("MRG-1")) == ("A40", "PAT1", "PAT2")


def test_nobody_answers_is_3(xds: Commands) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        for arguments in (
            ("iti18", "FindDocuments", "--patient", "P1^^^&1.2.3&ISO", "--to", f"http://{address}"),
            ("iti43", "1.2.3", "--repository", "1.2", "--to", f"http://{address}"),
            ("iti09", "--patient", PATIENT, "--to", address),
            ("rad107", "--study", "1.2", "--to", f"http://{address}"),
        ):
            outcome = xds("send", *arguments)
            assert outcome.code == 3, arguments
            assert address in outcome.err
            assert "nothing listens there" in outcome.err


def test_an_answer_that_is_none_is_said_in_plain_words(xds: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = "{}:{}".format(*listening.getsockname())
        query = ("send", "iti18", "FindDocuments", "--patient", "P1^^^&1.2.3&ISO", "--to", f"http://{address}", "--timeout")
        silent = xds(*query, "0.2")
    assert (silent.code, silent.err) == (
        3,
        f"xds: no answer: http://{address}/services/registry: it was silent for too long (--timeout)\n",
    )


def test_a_manifest_that_cannot_be_kept_is_wrong_usage(xds: Commands, tmp_path: Path) -> None:
    place = tmp_path / "absent" / "manifest.dcm"
    given = ("--patient", "P1^^^&1.2.3&ISO", "--source-patient", PATIENT, "--location", "1.2")
    outcome = xds("publish", get_testdata_file("CT_small.dcm"), *given, "--save", str(place), "--dry-run")
    assert (outcome.code, outcome.err) == (2, f"xds: cannot write {place}: No such file or directory\n")


def test_a_setting_is_near_those_that_end_like_it(xds: Commands, tmp_path: Path) -> None:
    (tmp_path / "xds.toml").write_text("[server]\nport = 1\n")
    assert "near are 'server.dicom_port', 'server.http_port', 'server.mllp_port'" in xds("config").err


def test_a_locale_that_lacks_signs_shows_their_codes() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-m", "xds", "docs", "demo"], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"H\xf4pital des Deux-Rives" in done.stdout


@pytest.mark.parametrize("options", [(), ("-u",)])
def test_an_output_that_is_full(options: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, *options, "-m", "xds", "transactions"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "xds: No space left on device\n")


def unread(*command: str) -> tuple[int, str]:
    """Exit code and standard error of a command whose output nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, *command], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", [("config",), ("transactions",), ("transactions", "--json"), ("--help",), ("send", "--help")])
@pytest.mark.parametrize("options", [(), ("-u",)])
def test_a_reader_that_goes_away_ends_the_command_without_a_word(options: tuple[str, ...], command: tuple[str, ...]) -> None:
    assert unread(*options, "-m", "xds", *command) == (141, "")


def test_a_reader_that_goes_away_later() -> None:
    """After the first line, while there is more than the pipe holds."""
    script = "import sys\nfrom xds.cli import output\noutput.prepare()\nwhile True:\n    print('line ' * 20)\n"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline().startswith(b"line")
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 141


def test_what_a_command_says_of_its_failure_is_said_to_nobody_who_reads_as_well() -> None:
    code, said = unread("-m", "xds", "docs", "nothing")
    assert code == 2
    assert "configuration" in said


def test_output_that_is_read_is_whole() -> None:
    done = subprocess.run([sys.executable, "-m", "xds", "config"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("domain.assigning_authority")
    assert done.stdout.endswith("\n")


def test_a_file_that_is_no_database(xds: Commands, tmp_path: Path) -> None:
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "xds.sqlite").write_bytes(b"no database " * 1000)
    outcome = xds("serve", "--http-port", "0", "--mllp-port", "0", "--dicom-port", "0")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == "xds: cannot start: the database cannot be used: file is not a database"
