"""Settings: which source wins, how each value tells where it came from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from xds import config
from xds.config import ConfigError, load, provenance
from xds.settings import Settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without `xds.toml`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, text: str, name: str = "xds.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def source_of(key: str, *arguments: object) -> tuple[str, str]:
    return next((item.value, item.source) for item in provenance(*arguments) if item.key == key)  # type: ignore[arg-type]


def test_an_empty_file_works(elsewhere: Path) -> None:
    assert load(written(elsewhere, "")) == Settings()


def test_defaults_of_the_contract() -> None:
    settings = load()
    assert (settings.server.host, settings.server.http_port, settings.server.mllp_port, settings.server.dicom_port) == (
        "127.0.0.1",
        8080,
        2575,
        11112,
    )
    assert settings.server.ae_title == "XDS"
    assert settings.registry.require_known_patient is True
    assert settings.registry.max_results == 5000
    assert settings.registry.check_codes == "off"
    assert settings.identity.unknown_domains == "create"
    assert settings.imaging.settle_seconds == 10
    assert settings.tls.client_certificate == "required"
    assert settings.security.require_assertion is False


def test_later_sources_win_key_by_key(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(elsewhere, "[server]\nhttp_port = 1\nmllp_port = 1\ndicom_port = 1\n")
    monkeypatch.setenv("XDS__SERVER__MLLP_PORT", "2")
    monkeypatch.setenv("xds__server__dicom_port", "2")
    settings = load(path, {"server.dicom_port": 3})
    assert (settings.server.http_port, settings.server.mllp_port, settings.server.dicom_port) == (1, 2, 3)
    overrides = {"server.dicom_port": 3}
    assert source_of("server.http_port", path, overrides) == ("1", str(path))
    assert source_of("server.mllp_port", path, overrides) == ("2", "environment XDS__SERVER__MLLP_PORT")
    assert source_of("server.dicom_port", path, overrides) == ("3", "command line")
    assert source_of("server.ae_title", path, overrides) == ("XDS", "default")


def test_the_file_in_the_working_directory_is_found(elsewhere: Path) -> None:
    written(elsewhere, '[server]\nae_title = "HERE"\n')
    assert load().server.ae_title == "HERE"
    assert source_of("server.ae_title") == ("HERE", "xds.toml")


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("[server]\nhtpt_port = 1\n", "server.htpt_port", "server.http_port"),
        ("[serve]\nhost = '::1'\n", "serve", "server"),
        ("http_port = 1\n", "http_port", "server.http_port"),
        ("[[identity.domains]]\nname = 'A'\noid = '1.2'\nsource = []\n", "identity.domains.source", "identity.domains.sources"),
        ("[[pacs]]\naetitle = 'A'\n", "pacs.aetitle", "pacs.ae_title"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest(elsewhere: Path, text: str, key: str, nearest: str) -> None:
    path = written(elsewhere, text)
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert f"{path}: there is no setting {key!r}; the nearest is {nearest!r}" in str(refused.value)


def test_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDS__SERVER__HTTPPORT", "1")
    with pytest.raises(ConfigError, match=r"XDS__SERVER__HTTPPORT.*'XDS__SERVER__HTTP_PORT'"):
        load()


def test_every_wrong_value_is_told_with_its_source(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(elsewhere, '[server]\nhttp_port = 70000\n[domain]\nhome_community_id = "not an oid"\n')
    monkeypatch.setenv("XDS__REGISTRY__CHECK_CODES", "sometimes")
    with pytest.raises(ConfigError) as refused:
        load(path)
    lines = str(refused.value).splitlines()
    assert len(lines) == 3
    assert any(line.startswith(f"{path}: server.http_port:") and "70000" in line for line in lines)
    assert any(line.startswith(f"{path}: domain.home_community_id: must be an OID") for line in lines)
    assert any(line.startswith("environment XDS__REGISTRY__CHECK_CODES: registry.check_codes:") for line in lines)


def test_a_missing_key_of_a_table_is_told(elsewhere: Path) -> None:
    first = '[[identity.domains]]\nname = "B"\noid = "1.2"\n'
    with pytest.raises(ConfigError, match=r"identity\.domains\.oid of table 2: must be given"):
        load(written(elsewhere, f'{first}[[identity.domains]]\nname = "A"\n'))


def test_a_file_that_is_no_toml_is_refused(elsewhere: Path) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(written(elsewhere, "[server\n"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server = 3\n", "server: must be a table, written [server]; got 3"),
        ('[pacs]\nname = "x"\n', "pacs: must be a list of tables, each written [[pacs]]"),
        ("[server]\nreply_to = 3\n", "server.reply_to: must be a list, in [brackets]; got 3"),
        ("[server]\nhost = 5\n", "server.host: must be a text, in quotes; got 5"),
        ('[server]\nhttp_port = "abc"\n', "server.http_port: must be a whole number; got 'abc'"),
        ("[server]\nhttp_port = 99999\n", "server.http_port: must be at most 65535; got 99999"),
        ("[registry]\nmax_results = 0\n", "registry.max_results: must be at least 1; got 0"),
        ("[repository]\nregistry_seconds = 0\n", "repository.registry_seconds: must be more than 0"),
        ('[repository]\nregistry_seconds = "x"\n', "repository.registry_seconds: must be a number; got 'x'"),
        ('[server]\ndemo = "perhaps"\n', "server.demo: must be true or false; got 'perhaps'"),
        ('[registry]\ncheck_codes = "no"\n', "registry.check_codes: must be 'off', 'warn' or 'strict'; got 'no'"),
        ('[server]\nae_title = ""\n', "server.ae_title: must have at least 1 character(s); got ''"),
        ("[imaging]\nmanifests = []\n", "imaging.manifests: must have at least 1 value(s); got []"),
        (
            '[registry]\nlink_change_code = "x"\n',
            "registry.link_change_code: must be a code, written code^display name^coding scheme; got 'x'",
        ),
        (
            '[publication]\nclass_code = "a^b"\n',
            "publication.class_code: must be a code, written code^display name^coding scheme",
        ),
        ('[server]\npublic_url = "not a url"\n', "server.public_url: must be an absolute http or https URL; got 'not a url'"),
        (
            '[[identity.subscribers]]\nname = "A|B"\nendpoint = "mllp://host"\n',
            "identity.subscribers: the endpoint of a v2 subscriber is mllp://host:port",
        ),
        (
            '[[identity.domains]]\nname = "A"\noid = "1.2"\n[[identity.domains]]\nname = "B"\noid = "1.2"\n',
            "identity: each of the domains needs its own oid; given twice: 1.2",
        ),
        ('[registry]\ncheck_codes = "warn"\n', "registry: check_codes is 'warn', which needs the codes: set registry.codes"),
    ],
)
def test_what_is_wrong_with_a_value_is_told_in_plain_words(elsewhere: Path, text: str, told: str) -> None:
    path = written(elsewhere, text)
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert f"{path}: {told}" in str(refused.value)


def test_a_section_that_is_no_table_is_refused_beside_flags_of_it(elsewhere: Path) -> None:
    with pytest.raises(ConfigError, match=r"server: must be a table, written \[server\]; got 3"):
        load(written(elsewhere, "server = 3\n"), {"server.http_port": 0})


def test_a_byte_order_mark_is_no_statement(elsewhere: Path) -> None:
    path = elsewhere / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbf[server]\nhttp_port = 8090\n")
    assert load(path).server.http_port == 8090


def test_what_is_wrong_with_several_settings_together_is_told(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = '[[pacs]]\nname = "x"\nae_title = "A"\nhost = "h"\nport = 104\n'
    with pytest.raises(ConfigError, match=r"^settings: each of the pacs needs a name of its own$"):
        load(written(elsewhere, table * 2))
    monkeypatch.setenv("XDS__REGISTRY__CHECK_CODES", "strict")
    with pytest.raises(ConfigError, match=r"^environment: registry: check_codes is 'strict'"):
        load(written(elsewhere, ""))


def test_a_password_in_a_table_is_not_repeated(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = 'query = "qido"\ndicomweb = ""\nretrieve = "wado-rs"\nhost = "SECRET"\n'
    with pytest.raises(ConfigError) as refused:
        load(written(elsewhere, f'[[pacs]]\nname = "x"\nae_title = "A"\nport = 104\n{secret}'))
    assert "SECRET" not in str(refused.value)
    monkeypatch.setenv("XDS__PACS", "https://user:SECRET@host")
    with pytest.raises(ConfigError, match=r"XDS__PACS must be a list of tables in JSON") as refused:
        load(written(elsewhere, ""))
    assert "SECRET" not in str(refused.value)


def test_an_absent_file_is_refused(elsewhere: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load(elsewhere / "absent.toml")


def test_a_list_in_the_environment_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDS__IDENTITY__DOMAINS", '[{"name": "HOSP_A", "oid": "1.2.3", "sources": ["HOSP_A|ADT"]}]')
    (domain,) = load().identity.domains
    assert (domain.name, domain.oid, domain.sources) == ("HOSP_A", "1.2.3", ("HOSP_A|ADT",))
    monkeypatch.setenv("XDS__IDENTITY__DOMAINS", "HOSP_A")
    with pytest.raises(ConfigError, match="XDS__IDENTITY__DOMAINS must be a list of tables in JSON"):
        load()
    monkeypatch.delenv("XDS__IDENTITY__DOMAINS")
    monkeypatch.setenv("XDS__SERVER__REPLY_TO", "https://a.example/")
    with pytest.raises(ConfigError, match=r'XDS__SERVER__REPLY_TO must be a list in JSON, such as \["a", "b"\]; got'):
        load()


def test_listed_domains_close_the_door_to_others_unless_it_is_held_open(elsewhere: Path) -> None:
    listed = '[[identity.domains]]\nname = "A"\noid = "1.2.3"\n'
    assert load(written(elsewhere, listed)).identity.unknown_domains == "refuse"
    assert load(written(elsewhere, '[identity]\nunknown_domains = "create"\n' + listed)).identity.unknown_domains == "create"


def test_demo_brings_its_own_defaults_and_everything_else_wins(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(elsewhere, '[server]\ndemo = true\n[domain]\nrepository_unique_id = "1.2.3"\n')
    settings = load(path)
    assert settings.domain.assigning_authority == "2.999.1"
    assert settings.domain.repository_unique_id == "1.2.3"
    assert source_of("domain.assigning_authority", path) == ("2.999.1", "demo region")
    monkeypatch.setenv("XDS__SERVER__DEMO", "false")
    assert load(path).domain.assigning_authority == ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://xds:secret@db/xds", "postgresql+psycopg://xds:***@db/xds"),
        ("postgresql+psycopg://db/xds?password=secret", "postgresql+psycopg://db/xds?password=***"),
        ("sqlite:////var/lib/xds.sqlite", "sqlite:////var/lib/xds.sqlite"),
        ("", ""),
    ],
)
def test_passwords_are_masked(monkeypatch: pytest.MonkeyPatch, url: str, shown: str) -> None:
    monkeypatch.setenv("XDS__DATABASE__URL", url)
    assert source_of("database.url")[0] == shown


def test_settings_without_effect_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever configures TLS must not get a server without it."""
    assert config.without_effect(load()) == ()
    for key in config.WITHOUT_EFFECT:
        assert key in {item.key for item in provenance()}
    if "tls.certificate" in config.WITHOUT_EFFECT:
        monkeypatch.setenv("XDS__TLS__CERTIFICATE", "server.pem")
        assert config.without_effect(load()) == ("tls.certificate",)


def test_every_setting_is_documented() -> None:
    text = config.describe()
    for item in provenance():
        assert f"| `{item.key.rpartition('.')[2]}` |" in text or f"## `[[{item.key}]]`" in text
    assert "None |" not in text


def test_exposure_is_noticed() -> None:
    assert not config.exposed(load())
    assert config.exposed(load(None, {"server.host": "0.0.0.0"}))
