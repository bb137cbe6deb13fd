"""Settings of patient identities: whose identifiers there are, and who is told when they change."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from xds.settings.values import RequiredOid, Section


def _has_port(endpoint: str) -> bool:
    try:
        return urlsplit(endpoint).port is not None
    except ValueError:
        return False


class IdentityDomainSettings(Section):
    """One patient identification domain: an establishment that issues patient identifiers."""

    name: str = Field(min_length=1, description="Namespace of the assigning authority (CX.4.1).")
    oid: RequiredOid = Field(description="OID of the assigning authority (CX.4.2).")
    sources: tuple[str, ...] = Field(
        default=(),
        description="Who may issue its identifiers; empty: any. `MSH-4|MSH-3` of HL7 v2; in FHIR the subject of the client "
        "certificate, or else `meta.source`, or else the system of the identifier.",
    )
    uri: str = Field(default="", description="`Identifier.system` of its identifiers in FHIR; empty: `urn:oid:` and the OID.")


class IdentitySubscriberSettings(Section):
    """Who is told when the identifiers of a patient change: a PIX Consumer."""

    name: str = Field(
        min_length=1, description="How it is addressed: `facility|application` in HL7 v2, `organization|device` (OIDs) in v3."
    )
    endpoint: str = Field(min_length=1, description="`mllp://host:port` in HL7 v2, the URL of its service in v3.")
    wire: Literal["v2", "v3"] = Field(default="v2", description="HL7 `v2` (ITI-10) or `v3` (ITI-46).")
    domains: tuple[str, ...] = Field(
        default=(), description="Names or OIDs of the domains whose identifiers it is told; empty: all."
    )

    @model_validator(mode="after")
    def _endpoint_fits(self) -> IdentitySubscriberSettings:
        parts = urlsplit(self.endpoint)
        schemes = ("mllp",) if self.wire == "v2" else ("http", "https")
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"the endpoint of a {self.wire} subscriber begins with {' or '.join(schemes)}://")
        if self.wire == "v2" and not _has_port(self.endpoint):
            raise ValueError("the endpoint of a v2 subscriber is mllp://host:port")
        return self


class IdentitySettings(Section):
    """The patient identification domains of the PIX Manager, and what demographics queries may ask."""

    unknown_domains: Literal["create", "refuse"] = Field(
        default="create",
        description="What a feed of an unlisted assigning authority does: `create` the domain, or `refuse`. "
        "It is `refuse` as soon as any domain is listed, unless it is set.",
    )
    domains: tuple[IdentityDomainSettings, ...] = Field(default=(), description="The domains, as `[[identity.domains]]` tables.")
    subscribers: tuple[IdentitySubscriberSettings, ...] = Field(
        default=(), description="PIX Consumers that are notified, as `[[identity.subscribers]]` tables."
    )

    minimum_criteria: int = Field(
        default=1,
        ge=1,
        le=3,
        description="How many traits a demographics query must name at least: names, birth date, telephone and the like. "
        "An identifier is always enough, a sex or a town never is.",
    )
    page_size: int = Field(
        default=100,
        ge=1,
        le=1000,
        description="Most patients of an answer to a demographics query that asks for no other number.",
    )
    max_results: int = Field(
        default=1000, ge=1, le=10000, description="Most patients that one demographics query is answered, all pages together."
    )
    queries_per_minute: int = Field(
        default=0,
        ge=0,
        description="Most demographics queries of one caller (the user of an assertion, or else a network address) in a minute, "
        "in each process; 0: any number. Beyond it HTTP 429, or AE, is the answer.",
    )

    @model_validator(mode="after")
    def _tells_domains_apart(self) -> IdentitySettings:
        for key in ("oid", "name"):
            values = [getattr(each, key) for each in self.domains]
            if twice := {value for value in values if values.count(value) > 1}:
                raise ValueError(f"each of the domains needs its own {key}; given twice: {', '.join(sorted(twice))}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _refuse_beside_a_list(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("domains") and "unknown_domains" not in given:
            return {**given, "unknown_domains": "refuse"}
        return given
