"""What values settings may have."""

from __future__ import annotations

from typing import Annotated

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


def _without_trailing_slash(text: str) -> str:
    return text.rstrip("/")


Oid = Annotated[str, AfterValidator(_oid_or_empty)]
RequiredOid = Annotated[str, AfterValidator(_required_oid)]
Port = Annotated[int, Field(ge=0, le=65535)]
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]+$")]
ReplyAddress = Annotated[str, AfterValidator(_reply_address)]
Url = Annotated[str, AfterValidator(_without_trailing_slash)]

#: `code^display name^coding scheme`.
CodeText = Annotated[str, Field(pattern=r"^[^^]+\^[^^]*\^[^^]+$")]
CodeOrEmpty = Annotated[str, Field(pattern=r"^([^^]+\^[^^]*\^[^^]+)?$")]


class Section(BaseModel):
    """One table of `xds.toml`: a key that does not exist is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
