"""Every setting with its default and its meaning, as data. `xds.config` reads them from where they are given."""

from __future__ import annotations

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from xds.settings.domain import (
    DatabaseSettings,
    DomainSettings,
    RegistrySettings,
    RepositorySettings,
    ServerSettings,
    StorageSettings,
)
from xds.settings.identity import IdentityDomainSettings, IdentitySettings, IdentitySubscriberSettings
from xds.settings.imaging import DestinationSettings, ImagingSettings, PacsSettings, PublicationSettings
from xds.settings.security import AuditSettings, IssuerSettings, SecuritySettings, TlsSettings

__all__ = [
    "ENVIRONMENT_PREFIX",
    "AuditSettings",
    "DatabaseSettings",
    "DestinationSettings",
    "DomainSettings",
    "IdentityDomainSettings",
    "IdentitySettings",
    "IdentitySubscriberSettings",
    "ImagingSettings",
    "IssuerSettings",
    "PacsSettings",
    "PublicationSettings",
    "RegistrySettings",
    "RepositorySettings",
    "SecuritySettings",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "TlsSettings",
]

ENVIRONMENT_PREFIX = "XDS__"


class Settings(BaseSettings):
    """Every setting. Build it with `load`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", case_sensitive=False
    )

    domain: DomainSettings = DomainSettings()
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    registry: RegistrySettings = RegistrySettings()
    repository: RepositorySettings = RepositorySettings()
    identity: IdentitySettings = IdentitySettings()
    imaging: ImagingSettings = ImagingSettings()
    publication: PublicationSettings = PublicationSettings()
    pacs: tuple[PacsSettings, ...] = Field(default=(), description="The PACSs, as `[[pacs]]` tables.")
    destinations: tuple[DestinationSettings, ...] = Field(
        default=(),
        description="Where images may be sent to by DICOM, as `[[destinations]]` tables; PACSs need not be repeated.",
    )
    tls: TlsSettings = TlsSettings()
    security: SecuritySettings = SecuritySettings()
    audit: AuditSettings = AuditSettings()

    @model_validator(mode="after")
    def _tells_sources_apart(self) -> Settings:
        names = [each.name for each in self.pacs]
        if len(set(names)) < len(names):
            raise ValueError("each of the pacs needs a name of its own")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` merged: it reads the sources itself, to know where each value came from."""
        return (init_settings,)
