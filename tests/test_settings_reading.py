import pytest

from gnomon.errors import SettingsError
from gnomon.settings import ExternalSettings, RoleCredentials, RoleSettings
from gnomon.settings_reading import decode, encode, load


def test_stronger_sources_win(tmp_path):
    (tmp_path / "gnomon.toml").write_text('[server]\nport = 1\ncontrol_port = 2\nhost = "::1"\n')
    settings = load(
        tmp_path,
        {"GNOMON_SERVER_PORT": "3", "GNOMON_SERVER_CONTROL_PORT": "4"},
        {"server": {"control_port": 5}},
    )
    assert (settings.server.host, settings.server.port, settings.server.control_port) == (
        "::1",
        3,
        5,
    )


def test_without_a_file_the_defaults_hold(tmp_path):
    assert load(tmp_path, {}).router.model_time_limit_s == 60.0


def test_images_are_a_table(tmp_path):
    (tmp_path / "gnomon.toml").write_text('[hosting.images]\n"mine:*" = "serve --all"\n')
    assert load(tmp_path, {}).hosting.images == {"mine:*": "serve --all"}


EXTERNAL = """
[hosting.external."triton:*"]
urls = ["http://127.0.0.1:9000"]
health = "/v2/health/ready"
headers = { Authorization = "Bearer x" }
keep_alive_s = 5
"""


def test_external_servers_are_tables_of_their_own(tmp_path):
    (tmp_path / "gnomon.toml").write_text(EXTERNAL)
    settings = load(tmp_path, {})
    assert settings.hosting.external == {
        "triton:*": ExternalSettings(
            urls=("http://127.0.0.1:9000",),
            health="/v2/health/ready",
            headers={"Authorization": "Bearer x"},
            keep_alive_s=5,
        )
    }
    assert decode(encode(settings)) == settings


def test_roles_are_tables_of_their_own_and_strict_is_true_or_false(tmp_path):
    role = "arn:aws:iam::111122223333:role/Test"
    (tmp_path / "gnomon.toml").write_text(
        f'[roles]\nstrict = true\n[roles.credentials."{role}"]\nprofile = "test"\n'
    )
    settings = load(tmp_path, {})
    assert settings.roles == RoleSettings(
        strict=True, credentials={role: RoleCredentials(profile="test")}
    )
    assert decode(encode(settings)) == settings
    assert load(tmp_path, {"GNOMON_ROLES_STRICT": "false"}).roles.strict is False


@pytest.mark.parametrize(
    ("text", "environ", "sentence"),
    [
        ("[hosting]\nexternal = 1\n", {}, "hosting.external is 1 and must be a table"),
        ("[hosting.external]\na = 1\n", {}, r'\[hosting.external."a"\] must be a table'),
        ('[hosting.external.a]\nurl = "x"\n', {}, r'\[hosting.external."a"\] has no setting'),
        ('[hosting.external.a]\nurls = "x"\n', {}, "'x' and must be a list of texts"),
        ("[hosting.external.a]\nurls = [1]\n", {}, r"\[1\] and must be a list of texts"),
        ("[hosting.external.a]\nhealth = 1\n", {}, '"a".health is 1 and must be text'),
        ("[hosting.external.a]\nheaders = 1\n", {}, '"a".headers is 1 and must be a table of'),
        ("[hosting.external.a]\nheaders = { A = 1 }\n", {}, "headers must be a table of texts"),
        ("[sever]\n", {}, r"section \[sever\] that Gnomon does not know"),
        ("[server]\nprot = 1\n", {}, "has no setting 'prot'"),
        ('[server]\nport = "1"\n', {}, "server.port is '1' and must be a whole number"),
        ("[server]\nport = true\n", {}, "must be a whole number"),
        ("server = 1\n", {}, r"\[server\] must be a table"),
        ("[server\n", {}, "not valid TOML"),
        ("", {"GNOMON_SERVER_PRT": "1"}, "GNOMON_SERVER_PRT names no setting"),
        ("", {"GNOMON_ROUTER_POOL_IDLE_S": "soon"}, "GNOMON_ROUTER_POOL_IDLE_S is 'soon'"),
        ("", {"GNOMON_ROUTER_POOL_IDLE_S": "nan"}, "must be a number of 0 or more"),
        ("", {"GNOMON_SERVER_ROUTERS": "-1"}, "GNOMON_SERVER_ROUTERS is -1 and must be a whole"),
        ("[server]\nrouters = -1\n", {}, "server.routers is -1 and must be a whole number of 0"),
        (
            "",
            {"GNOMON_SERVER_PORT": "65536"},
            "is 65536 and must be a whole number from 0 to 65535",
        ),
        (
            "",
            {"GNOMON_SERVER_LOG_LEVEL": "verbose"},
            "GNOMON_SERVER_LOG_LEVEL is 'verbose' and must be one of debug, info, warning, error",
        ),
        ('[server]\nlog_level = "verbose"\n', {}, "server.log_level is 'verbose' and must be one"),
        ("[aws]\nregion = 1\n", {}, "aws.region is 1 and must be text"),
        ("[hosting]\nimages = 1\n", {}, "hosting.images is 1 and must be a table of texts"),
        ("[objects]\nsecret_access_key = 1\n", {}, "objects.secret_access_key must be text"),
        ("[roles]\nstrict = 1\n", {}, "roles.strict is 1 and must be true or false"),
        ("", {"GNOMON_ROLES_STRICT": "yes"}, "STRICT is 'yes' and must be true or false"),
        ('[roles.credentials.a]\nrole = "x"\n', {}, r'\[roles.credentials."a"\] has no setting'),
    ],
)
def test_what_cannot_be_a_setting_is_named(tmp_path, text, environ, sentence):
    (tmp_path / "gnomon.toml").write_text(text)
    with pytest.raises(SettingsError, match=sentence):
        load(tmp_path, environ)


def test_a_file_that_is_named_must_be_there(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.toml, which does not exist"):
        load(tmp_path, {"GNOMON_CONFIG": str(tmp_path / "nowhere.toml")})


def test_a_process_gets_the_settings_that_its_supervisor_has(tmp_path):
    (tmp_path / "gnomon.toml").write_text('[hosting.images]\n"a" = "b"\n[server]\nport = 9\n')
    settings = load(tmp_path, {})
    assert decode(encode(settings)) == settings


def test_what_the_command_line_says_is_checked_under_its_own_name(tmp_path):
    with pytest.raises(SettingsError, match="--control-port is 99999 and must be a whole number"):
        load(tmp_path, {}, {"server": {"control_port": 99999}})


def test_a_list_of_texts_is_read_and_anything_else_refused(tmp_path):
    file = tmp_path / "gnomon.toml"
    file.write_text('[analysis]\nignored_paths = ["/a", "/b"]\n')
    assert load(tmp_path, {}).analysis.ignored_paths == ("/a", "/b")
    for wrong in ('"/a"', "[1]", "{a = 1}"):
        file.write_text(f"[analysis]\nignored_paths = {wrong}\n")
        with pytest.raises(SettingsError, match=r"ignored_paths is .* must be a list of texts"):
            load(tmp_path, {})
