import base64
import json
import subprocess
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mmkit.experiment.redaction import is_secret_name, redact, redact_command, redact_text, secrets_of


SECRET_NAMES = [
    "password", "passwd", "db_password", "PASSWORD", "dbPassword", "passwords", "secret", "client_secret",
    "AWS_SECRET_ACCESS_KEY", "secret_key", "token", "HF_TOKEN", "access_token", "auth-token", "authToken", "hub_token",
    "api_key", "apiKey", "apikey", "API-KEY", "WANDB_API_KEY", "credential", "credentials", "private_key", "ssh_key",
    "access_key", "authorization", "Authorization", "Proxy-Authorization", "cookie", "passphrase", "github_pat", "jwt",
    "password_hash", "openai.api_key",
]  # fmt: skip
INNOCENT_NAMES = [
    "tokenizer", "token_type", "token_type_ids", "num_tokens", "tokens", "pad_token", "mask_token", "cls_token",
    "max_token", "key", "keys", "query_key", "key_padding_mask", "primary_key", "author", "authors", "secretary",
    "password_file", "token_path", "secret_name", "bypass", "compass", "api", "private", "pattern", "pat",
    "encoder.width", "monitor", "lr", "embed_dim",
]  # fmt: skip
SHAPED = {
    "huggingface": "hf_" + "aB3dE6gH9kL2mN5pQ8rS1tU4vW7xY0zA1b",
    "openai": "sk-" + "proj-aB3dE6gH9kL2mN5pQ8rS",
    "github": "ghp_" + "aB3dE6gH9kL2mN5pQ8rS1tU4vW7xY0zA1b2c",
    "github-fine": "github_pat_" + "11ABCDEFG0aB3dE6gH9kL2_mN5pQ8rS1tU4vW7xY0zA1b2c",
    "gitlab": "glpat-" + "aB3dE6gH9kL2mN5pQ8rS",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "slack": "xoxb-" + "123456789012-abcdefGHIJKL",
    "google": "AIza" + "SyA1bC2dE3fG4hI5jK6lM7nO8pQ9rS0tU1v",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "stripe": "sk_live_" + "aB3dE6gH9kL2mN5pQ8rS",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nbase64lines\n-----END RSA PRIVATE KEY-----",
    "cut-pem": "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nbase64lines",
    "wandb": "wandb_v1_" + "aB3dE6gH9kL2mN5pQ8rS1tU4",
    "nvidia": "nvapi-" + "aB3dE6gH9kL2mN5pQ8rS1tU4",
}
plain_secrets = st.text("abcdefghjkmnpqrstuvwxyzABCDEFGH123456789!$%-_.", min_size=6, max_size=24).filter(
    lambda text: text[0].isalnum() and text.lower() not in ("string", "object")
)
names = st.text("abcdefgxyz_", min_size=1, max_size=10).filter(lambda name: not is_secret_name(name))


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_secret_names_are_found(name):
    assert is_secret_name(name)
    assert redact({name: "hunter22"}) == {name: "***"}


@pytest.mark.parametrize("name", INNOCENT_NAMES)
def test_innocent_names_keep_their_values(name):
    assert not is_secret_name(name)
    assert redact({name: "[MASK] / 12"}) == {name: "[MASK] / 12"}


@pytest.mark.parametrize("secret", SHAPED.values(), ids=SHAPED)
@pytest.mark.parametrize("frame", ["{}", "some text {} here", "x={}", '{{"a": "{}"}}', "+  value: {}", "https://host/p?q={}"])
def test_values_of_a_known_shape_are_found_under_any_name(secret, frame):
    text = redact_text(frame.format(secret))
    assert "***" in text
    for line in secret.splitlines():
        assert line not in text
    assert secret.splitlines()[1 if "\n" in secret else 0] not in json.dumps(redact({"lr": [frame.format(secret)]}))


@pytest.mark.parametrize(
    "value",
    [
        "1a410efbd13591db07496601ebc7a059dd55cfe9",
        "task-scheduler-1-with-a-long-name",
        "risk-averse-2-learning-rates-for-all",
        "hf_hub_download",
        "basic tutorial of bearer networks",
        "https://github.com/org/repo.git",
        "ssh://git@github.com/org/repo",
        "git@github.com:org/repo.git",
        "person@example.org",
        "s3://bucket/key=1/part@2",
        "task.encoders.text.pad_token=[PAD]",
        "def f(tokenizer, num_tokens=3): return tokenizer(x)",
        "    token = tokens[0]",
        "    password: str",
        "    token: str | None = None",
        "if token == other:",
        "${oc.env:HF_TOKEN}",
        "",
    ],
)
def test_innocent_values_stay(value):
    assert redact_text(value) == value
    assert redact({"value": value, "list": [value]}) == {"value": value, "list": [value]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:pa55@host/x", "https://***@host/x"),
        ("git clone https://oauth2@host/x", "git clone https://***@host/x"),
        ("postgres://me:p@ss@host:5432/db", "postgres://***@host:5432/db"),
        ("a.b.password=hunter2", "a.b.password=***"),
        ("+a={password: hunter2, lr: 1}", "+a={password: ***, lr: 1}"),
        ("--db-password hunter2 --lr 1", "--db-password *** --lr 1"),
        ("HF_TOKEN=hunter2 mmkit_run lr=1", "HF_TOKEN=***"),
        ("run with HF_TOKEN=hunter2 lr=1", "run with HF_TOKEN=*** lr=1"),
        ("-H 'Authorization: Basic aGE6aG8='", "-H 'Authorization: ***'"),
        ("Bearer abcdefgh1", "Bearer ***"),
        ('+    password: str = "hunter2"', '+    password: str = "***"'),
        ("+password: correct horse battery", "+password: ***"),
        ("{\\\"api_key\\\": \\\"hunter2\\\"}", "{\\\"api_key\\\": \\\"***\\\"}"),
        ("https://host/x?sig=hunter2&a=1", "https://host/x?sig=***&a=1"),
    ],
)  # fmt: skip
def test_secrets_in_text(text, expected):
    assert redact_text(text) == expected
    assert redact_text(expected) == expected


def test_interpolations_stay_and_their_written_defaults_go():
    cfg = OmegaConf.create({"token": "${oc.env:HF_TOKEN}", "password": "${oc.env:PW,hunter2}", "api_key": "${.token}"})
    assert redact(OmegaConf.to_container(cfg)) == {
        "token": "${oc.env:HF_TOKEN}", "password": "${oc.env:PW,***}", "api_key": "${.token}",
    }  # fmt: skip


def test_what_lies_below_a_secret_name_is_secret_but_its_target():
    config = {"credentials": {"_target_": "my.Login", "user": "me", "values": ["a", 1, None, True]}}
    assert redact(config) == {"credentials": {"_target_": "my.Login", "user": "***", "values": ["***", "***", None, True]}}


def test_numbers_and_flags_that_are_no_secret_stay_and_the_input_is_not_changed():
    config = {"max_token": 512, "password": 1234, "use_password": True, "secret": None, 3: "x"}
    before = dict(config)
    assert redact(config) == {"max_token": 512, "password": "***", "use_password": True, "secret": None, 3: "x"}
    assert config == before


def test_command_is_redacted_argument_by_argument():
    command = [
        "mmkit_run",
        "a.password=my secret phrase",
        "--api-key",
        "hunter2",
        "lr=1",
        "--tokenizer",
        "bpe",
        "x=https://a:b@c",
    ]
    assert redact_command(command) == [
        "mmkit_run", "a.password=***", "--api-key", "***", "lr=1", "--tokenizer", "bpe", "x=https://***@c",
    ]  # fmt: skip


def test_values_of_secret_variables_are_found_wherever_they_stand():
    secrets = secrets_of(
        {"MY_TOKEN": "hunter22", "TOKENIZER": "sentencepiece", "SSH_KEY": "/home/me/.ssh/id", "PASSWORD": "short"}
    )
    assert secrets == ["hunter22"]
    assert redact({"x": "ahunter22b"}, secrets) == {"x": "a***b"}
    assert redact_command(["run", "hunter22"], secrets) == ["run", "***"]


@given(secret=plain_secrets, name=st.sampled_from(SECRET_NAMES), path=st.lists(names, max_size=3), lr=st.floats(0, 1))
def test_no_named_secret_survives_in_any_place(secret, name, path, lr):
    assume(secret not in name and not any(secret in part for part in path))
    config = {name: secret, "list": [{name: [secret]}, f"{'.'.join([*path, name])}={secret}"], "lr": lr}
    for part in path:
        config = {part: config, "lr": lr}
    assert secret not in json.dumps(redact(config))
    key = ".".join([*path, name])
    command = ["run", f"{key}={secret}", f"+{key}='{secret} {secret}'", f"--{name}", secret, f"--{name}={secret}"]
    assert secret not in json.dumps(redact_command(command))
    lines = [
        f"+{key}: {secret}", f'+  {name} = "{secret}"', f"-export {name}={secret}", f'+{{"{name}": "{secret}", "a": 1}}',
        f"+  f({name.split('.')[-1]}='{secret}', lr=1)",
    ]  # fmt: skip
    assert secret not in redact_text("\n".join(lines))


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc /.-_[]<>", max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=10,
))  # fmt: skip
def test_innocent_containers_are_unchanged(config):
    assert redact(config) == config


@given(st.binary(max_size=64))
def test_redacting_twice_is_redacting_once(data):
    text = f"password={base64.b64encode(data).decode()} https://{data.hex()}@host token: {data.hex()}"
    assert redact_text(redact_text(text)) == redact_text(text)


def test_a_real_diff_keeps_its_code(tmp_path):
    code = "def f(tokenizer, token):\n    token = tokenizer(token)[0]\n    return token.text, tokenizer.pad_token\n"
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text(code)
    diff = subprocess.run(["git", "diff", "--no-index", "a.py", "b.py"], cwd=tmp_path, capture_output=True, text=True).stdout
    assert "tokenizer(token)[0]" in diff
    assert redact_text(diff) == diff


@pytest.mark.parametrize(
    "blob", ["a", "a.", "a-", "token", "eyJ", "x://", "'", '"', "password=", "\\", "-----BEGIN PRIVATE KEY-----", "sk-"]
)
def test_long_texts_take_linear_time(blob):
    def duration(size):
        start = time.process_time()
        redact_text(blob * size)
        return time.process_time() - start

    assert duration(100_000 // len(blob)) < 5  # seconds; quadratic would take many minutes
