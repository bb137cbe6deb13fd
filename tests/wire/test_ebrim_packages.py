"""Packages and what they must not hold. Spec: ITI TF-3 4.2.2.1."""

from __future__ import annotations

from tests.builders import submission
from xds.wire.ebrim import read_submission, write_submission
from xds.wire.xml import RIM, parse


def test_a_package_does_not_hold_its_members() -> None:
    """What stands inside would be lost: a member is named by HasMember."""
    nested = f'<rim:RegistryObjectList xmlns:rim="{RIM}"/>'
    sent = write_submission(submission()).replace(b"</rim:RegistryPackage>", f"{nested}</rim:RegistryPackage>".encode(), 1)
    read, problems = read_submission(parse(sent))
    assert read is not None
    assert problems == [
        "RegistryPackage SubmissionSet01: RegistryObjectList: must be absent: members are named by HasMember; received one"
    ]
