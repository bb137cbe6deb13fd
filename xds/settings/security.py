"""Settings of security: TLS, assertions of users, the audit trail."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xds.settings.values import Section


class TlsSettings(Section):
    """TLS on every listener (ITI-19). With a certificate, HTTPS, MLLP over TLS and DICOM TLS take the place of the plain ones."""

    certificate: str = Field(default="", description="Path of the server's certificate chain (PEM).")
    key: str = Field(default="", description="Path of its private key (PEM).")
    trusted: str = Field(default="", description="Path of the bundle of partners' certificate authorities (PEM).")
    client_certificate: Literal["required", "optional", "none"] = Field(
        default="required", description="Must partners show a certificate?"
    )


class IssuerSettings(Section):
    """One issuer of assertions that is believed."""

    name: str = Field(min_length=1, description="Issuer of the assertion.")
    certificate: str = Field(min_length=1, description="Path of the certificate that it signs with (PEM).")


class SecuritySettings(Section):
    """User assertions (XUA)."""

    require_assertion: bool = Field(default=False, description="Refuse a SOAP request without a valid SAML assertion.")
    issuers: tuple[IssuerSettings, ...] = Field(default=(), description="Who may issue assertions: `[[security.issuers]]`.")


class AuditSettings(Section):
    """The audit trail (ATNA)."""

    repository: str = Field(
        default="",
        description="Audit Record Repository: `syslog+tls://host:6514`, `syslog+udp://host:514`; empty: none.",
    )
