"""TLS as users meet it: `gnomon tls init`, settings, boto3, the AWS CLI; and one URL for all."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError

from gnomon.testing.processes import EchoModels, RunningGnomon, Traffic, running_gnomon

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PATH = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def command(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "-m", "gnomon.app.main", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def aws(url, *arguments, **environ):
    """The AWS CLI with that single endpoint URL."""
    own = dict.fromkeys(NAMES, "gnomon")
    return subprocess.run(
        [shutil.which("aws", path=PATH), *arguments],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
            **own,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
            "AWS_MAX_ATTEMPTS": "1",
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class WithTls(RunningGnomon):
    """One whose clients verify it by `ca_file`."""

    ca_file = ""

    def client(self, service, **more):
        return boto3.session.Session(
            aws_access_key_id="gnomon", aws_secret_access_key="gnomon", region_name="us-east-1"
        ).client(
            service,
            endpoint_url=self.url,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=70),
            **{"verify": self.ca_file, **more},
        )

    def get(self, path):
        context = ssl.create_default_context(cafile=self.ca_file)
        url = f"{self.url}/gnomon/v1{path}"
        with urllib.request.urlopen(url, timeout=30, context=context) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A Gnomon with TLS, as `gnomon tls init` says to set it up."""
    root = tmp_path_factory.mktemp("tls") / "g"
    made = command("tls", "init", "--data-dir", str(root))
    assert made.returncode == 0, made.stderr
    (root / "gnomon.toml").write_text(made.stdout[made.stdout.index("  [tls]") :].split("\n\n")[0])
    with running_gnomon(root, GNOMON_ROUTER_DRAIN_IDLE_S="0.2") as running:
        running.__class__ = WithTls
        running.ca_file = str(root / "tls" / "ca.pem")
        yield running


def test_boto3_verifies_by_the_authority_and_refuses_without_it(secured):
    assert secured.url.startswith("https://")
    assert secured.client("sagemaker").list_endpoints()["Endpoints"] == []
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        secured.client("sagemaker", verify=True).list_endpoints()
    with pytest.warns(Warning, match="Unverified HTTPS request"):
        secured.client("sagemaker", verify=False).list_endpoints()


@pytest.mark.parametrize("listener", ["url", "control_url"])
def test_the_aws_cli_verifies_on_both_listeners_as_it_is_told(secured, listener):
    url = json.loads((secured.data_dir / "gnomon.json").read_text())[listener]
    list_ = ("sagemaker", "list-models")
    assert aws(url, *list_, "--ca-bundle", secured.ca_file).returncode == 0
    assert aws(url, *list_, AWS_CA_BUNDLE=secured.ca_file).returncode == 0
    refused = aws(url, *list_)
    assert refused.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
    unverified = aws(url, *list_, "--no-verify-ssl")
    assert (unverified.returncode, "Unverified HTTPS" in unverified.stderr) == (0, True)


def test_plain_http_on_either_listener_is_told_what_to_do(secured):
    running = json.loads((secured.data_dir / "gnomon.json").read_text())
    for url in (running["url"], running["control_url"]):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url.replace("https", "http"), timeout=10)
        with refused.value as answer:
            assert (answer.code, b"https://" in answer.read()) == (400, True)
    assert secured.client("sagemaker").list_models()["Models"] == []


def test_commands_and_the_exported_environment_work(secured):
    data_dir = ("--data-dir", str(secured.data_dir))
    for arguments in (["status"], ["events"], ["doctor"]):
        done = command(*arguments, *data_dir)
        assert done.returncode == 0, done.stdout + done.stderr
    exported = command("env", *data_dir).stdout
    assert f"export AWS_CA_BUNDLE={secured.ca_file}\n" in exported
    script = f"{exported}\naws sagemaker list-models"
    subprocess.run(["sh", "-c", script], env={**os.environ, "PATH": PATH}, check=True, timeout=60)


@pytest.fixture(params=["plain", "tls"])
def any_gnomon(request):
    return request.getfixturevalue({"plain": "gnomon", "tls": "secured"}[request.param])


def test_one_url_serves_every_service(any_gnomon, tmp_path):
    verified = {"AWS_CA_BUNDLE": any_gnomon.ca_file} if isinstance(any_gnomon, WithTls) else {}
    name = f"one-{'tls' if verified else 'plain'}"
    echo = EchoModels(any_gnomon, tmp_path, name)
    echo.endpoint()
    script = f"""
import boto3
from botocore.config import Config
once = Config(retries={{"total_max_attempts": 1}})
runtime = boto3.client("sagemaker-runtime", config=once)
answer = runtime.invoke_endpoint(EndpointName="{name}", Body="boto3", ContentType="text/csv")
print(answer["Body"].read().decode())
sagemaker = boto3.client("sagemaker", config=once)
print(sagemaker.describe_endpoint(EndpointName="{name}")["EndpointName"])
print("Metrics" in boto3.client("cloudwatch", config=once).list_metrics())
"""
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
        **dict.fromkeys(NAMES, "gnomon"),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": any_gnomon.url,
        **verified,
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["boto3", name, "True"], done.stderr
    url = any_gnomon.url
    shown = aws(url, "sagemaker", "describe-endpoint", "--endpoint-name", name, **verified)
    assert json.loads(shown.stdout)["EndpointName"] == name
    assert "Metrics" in json.loads(aws(url, "cloudwatch", "list-metrics", **verified).stdout)
    file = tmp_path / "answer"
    invoked = aws(
        url,
        *("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", name),
        *("--content-type", "text/csv", "--body", "cli", str(file)),
        **verified,
    )
    assert invoked.returncode == 0, invoked.stderr
    assert file.read_text() == "cli"


def test_a_renewed_certificate_is_taken_and_a_bad_one_is_said_while_requests_go_on(
    secured, tmp_path
):
    echo = EchoModels(secured, tmp_path, "renewed")
    echo.endpoint()
    runtime = secured.client("sagemaker-runtime")

    def invoke(number):
        body = f"{number}\n"
        answer = runtime.invoke_endpoint(EndpointName="renewed", Body=body, ContentType="text/csv")
        assert answer["Body"].read().decode() == body

    def shown():
        host, _, port = secured.url.removeprefix("https://").partition(":")
        return ssl.get_server_certificate((host, int(port)), ca_certs=secured.ca_file)

    def warned():
        return [text for text in secured.get("/status")["warnings"] if "server.pem" in text]

    with Traffic(invoke) as traffic:
        before = shown()
        renewed = command("tls", "init", "--renew", "--data-dir", str(secured.data_dir))
        assert renewed.returncode == 0, renewed.stderr
        secured.wait(lambda: shown() != before, "another certificate")
        after = shown()
        file = secured.data_dir / "tls" / "server.pem"
        sound = file.read_bytes()
        file.write_text("broken")
        secured.wait(warned, "a warning")
        assert shown() == after
        # Its authority is known all the same.
        assert "server.pem" in command("status", "--data-dir", str(secured.data_dir)).stdout
        file.write_bytes(sound)
        secured.wait(lambda: not warned(), "the warning's end")
        sent = traffic.sent
        secured.wait(lambda: traffic.sent > sent + 20, "traffic after")
    assert traffic.failures == []


def test_restarting_and_ending_lose_no_request(tmp_path):
    root = tmp_path / "g"
    assert command("tls", "init", "--data-dir", str(root)).returncode == 0
    settings = {
        "GNOMON_TLS_CERTIFICATE_FILE": "tls/server.pem",
        "GNOMON_TLS_KEY_FILE": "tls/server-key.pem",
        "GNOMON_ROUTER_DRAIN_IDLE_S": "0.2",
    }
    with running_gnomon(root, **settings) as running:
        running.__class__ = WithTls
        running.ca_file = str(root / "tls" / "ca.pem")
        echo = EchoModels(running, tmp_path, "kept")
        echo.endpoint()
        runtime = running.client("sagemaker-runtime")

        def invoke(number):
            body = f"{number}\n"
            answer = runtime.invoke_endpoint(EndpointName="kept", Body=body, ContentType="text/csv")
            assert answer["Body"].read().decode() == body

        with Traffic(invoke) as traffic:
            running.wait(lambda: traffic.sent > 20, "traffic before")
            restarted = command("restart", "--data-dir", str(root), **settings)
            assert restarted.returncode == 0, restarted.stderr
            sent = traffic.sent
            running.wait(lambda: traffic.sent > sent + 20, "traffic after")
        assert traffic.failures == []
        # Without an authority in the settings, commands know the certificate all the same.
        assert command("status", "--data-dir", str(root)).returncode == 0
        assert "AWS_CA_BUNDLE" not in command("env", "--data-dir", str(root)).stdout
        slow = Traffic(lambda _: runtime.invoke_endpoint(EndpointName="kept", Body="sleep 1"), 1)
        with slow:
            running.wait(lambda: slow.sent, "a request")
            done = command("down", "--data-dir", str(root))
            slow._ending.set()
        assert done.returncode == 0, done.stderr
        assert slow.answers
