"""What values settings may have."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from xds.model.identifiers import is_oid
from xds.wire.reply_addresses import read_reply_address


def _oid_or_empty(text: str) -> str:
    if text and not is_oid(text):
        raise ValueError("must be an OID of digits and dots, at most 64 characters")
    return text


def _required_oid(text: str) -> str:
    if not is_oid(text):
        raise ValueError("must be an OID of digits and dots, at most 64 characters")
    return text


def _reply_address(text: str) -> str:
    read_reply_address(text)
    return text


def _url_or_empty(text: str) -> str:
    parts = urlsplit(text)
    if text and not (parts.scheme in ("http", "https") and parts.hostname):
        raise ValueError("must be an absolute http or https URL")
    return text.rstrip("/")


def _code(text: str) -> str:
    parts = text.split("^")
    if len(parts) != 3 or not parts[0] or not parts[2]:
        raise ValueError("must be a code, written code^display name^coding scheme")
    return text


def _type_code_or_empty(text: str) -> str:
    if text and re.fullmatch("[A-Z]{1,10}", text) is None:
        raise ValueError("must be a type code of HL7 table 0203 (CX.5) in at most ten capital letters, such as NH or PI")
    return text


def _code_or_empty(text: str) -> str:
    return _code(text) if text else text


Oid = Annotated[str, AfterValidator(_oid_or_empty)]
RequiredOid = Annotated[str, AfterValidator(_required_oid)]
Port = Annotated[int, Field(ge=0, le=65535)]
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]+$")]
ReplyAddress = Annotated[str, AfterValidator(_reply_address)]
Url = Annotated[str, AfterValidator(_url_or_empty)]

#: `code^display name^coding scheme`.
CodeText = Annotated[str, AfterValidator(_code)]
CodeOrEmpty = Annotated[str, AfterValidator(_code_or_empty)]
#: CX.5, the kind of a patient's identifier.
TypeCodeOrEmpty = Annotated[str, AfterValidator(_type_code_or_empty)]


class Section(BaseModel):
    """One table of `xds.toml`: a key that does not exist is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
