"""Take secrets out of what is written or uploaded: by the name of a key, by the shape of a value, out of URLs.

Names and values that only look alike stay: ``tokenizer``, ``num_tokens``, ``pad_token``, ``key``, a git revision.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


REDACTED = "***"

# Words that make a name secret wherever they stand in it, unless it ends harmlessly: ``password_hash``, not ``password_file``.
_SECRET_WORDS = {"credential", "passphrase", "passwd", "password", "secret"}
_HARMLESS_ENDINGS = {
    "dir", "enabled", "env", "field", "file", "folder", "length", "manager", "max", "min", "name", "path", "policy", "prompt",
    "provider", "required", "size", "store", "type", "var",
}  # fmt: skip
# Ends of a name that make it secret.
_SECRET_ENDINGS = {"accesstoken", "apikey", "authorization", "authtoken", "bearer", "cookie", "jwt"}
_SECRET_KEYS = {
    "access", "account", "api", "auth", "client", "deploy", "encryption", "license", "master", "private", "secret", "service",
    "shared", "signing", "ssh", "storage",
}  # fmt: skip
# Tokens of a vocabulary or of a sequence, not of a login.
_HARMLESS_TOKENS = {
    "add", "additional", "audio", "begin", "blank", "bos", "by", "class", "cls", "distillation", "empty", "end", "eos", "first",
    "global", "has", "image", "is", "last", "learned", "mask", "max", "new", "next", "null", "num", "pad", "padding", "patch",
    "per", "pooling", "prompt", "query", "register", "sep", "special", "start", "text", "unk", "unknown", "use", "video",
    "visual", "with",
}  # fmt: skip

_SHAPES = [
    re.compile(pattern)
    for pattern in (
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----(?:.|\n)*?(?:-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|\Z)",
        r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",  # a JSON web token
        r"\bhf_[A-Za-z0-9]{20,}",
        r"(?<![\w-])sk-(?=[\w-]*\d)[\w-]{16,}",
        r"\b[sr]k_(?:live|test)_\w{16,}",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}",
        r"\bgithub_pat_\w{20,}",
        r"\bglpat-[\w-]{16,}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\bxox[a-z]-[\w-]{10,}",
        r"\bxapp-[\w-]{10,}",
        r"\bAIza[\w-]{35}",
        r"\bya29\.[\w-]{20,}",
        r"\bpypi-AgEI[\w-]{16,}",
        r"\bnpm_[A-Za-z0-9]{36}",
        r"\bnvapi-[\w-]{20,}",
        r"\bwandb_v\d_\w{20,}",
        r"\bSG\.[\w-]{16,}\.[\w-]{16,}",
        r"\bhooks\.slack\.com/services/[\w/]+",
    )
]
_BEARER = re.compile(r"\b(Bearer|Basic)(\s+)(?=\S*\d|\S{20})[\w.~+/=-]{8,}", re.IGNORECASE)
_USER_INFO = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,20}://)(?!git@)[^/\s\"'<>?#]+@")
_SIGNATURE = re.compile(r"([?&](?:sig|signature|x-amz-signature|x-amz-credential)=)[^&\s\"']+", re.IGNORECASE)
_INTERPOLATION = re.compile(r"\$\{[^{}]*\}")
_WITH_DEFAULT = re.compile(r"\$\{oc\.env:([^{},]*),[^{}]*\}")
# The name and what stands between it and its value: name = value, "name": "value", name: str = "value".
_NAMED = re.compile(
    r"""(?<![\w.\-])(?P<name>[A-Za-z_][\w.\-]*+)(?:\\?["'])?[ \t]*
    (?::[ \t]*(?:Secret)?(?:str|Str|bytes|Any|Optional\[str\])(?:[ \t]*\|[ \t]*None)?[ \t]*= | => | [=:](?!=))[ \t]*""",
    re.VERBOSE,
)
_VALUE = re.compile(
    r"""(?P<quote>\\?["'])(?P<quoted>(?:[^"'\\\n]|\\.|(?!(?P=quote))["'])*?)(?P=quote)
    | (?P<plain>(?![{\[(])(?:(?i:Bearer|Basic|Token|Digest)[ \t]+)?[^\s,;"'&}\])]+)""",
    re.VERBOSE,
)
# A line of YAML, of an environment file or of a header: the value goes to the end of the line.
_LINE = re.compile(
    r"""^(?P<before>[ \t+\-]*+["']?(?P<name>[A-Za-z_][\w.\-]*+)["']?(?::[ \t]+|=))(?P<value>[^\s"'{\[=][^\n]*+)$""", re.MULTILINE
)
_OPTION = re.compile(r"""(?P<option>(?<!\S)--?[A-Za-z][\w\-]*+)(?P<space>[ \t]+)(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s\-]\S*)""")
_CODE = re.compile(
    r"[A-Za-z_][\w.]*[(\[].*|(?:str|int|float|bool|bytes|object|Any|None|True|False|null|true|false|Optional|Callable)\b.*"
)
_OVERRIDE = re.compile(r"(?P<key>[+~]{0,2}[\w./@:\-]+)=(?P<value>.*)", re.DOTALL)


def redact(config: Any, secrets: Iterable[str] = ()) -> Any:
    """A copy of nested dicts and lists without secrets; interpolations stay as they are written.

    Args:
        config: Plain containers, e.g. of ``OmegaConf.to_container(cfg, resolve=False)``.
        secrets: Further texts that must not remain; see ``secrets_of``.
    """
    return _redacted(config, list(secrets), is_secret=False)


def redact_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Text, e.g. a diff or a line of a log, without secrets."""
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    for shape in _SHAPES:
        text = shape.sub(REDACTED, text)
    text = _BEARER.sub(rf"\1\2{REDACTED}", text)
    text = _USER_INFO.sub(rf"\1{REDACTED}@", text)
    text = _SIGNATURE.sub(rf"\1{REDACTED}", text)
    text = _OPTION.sub(_redacted_option, text)
    return _without_named(_LINE.sub(_redacted_line, text))


def redact_command(command: Sequence[str], secrets: Iterable[str] = ()) -> list[str]:
    """A command's arguments without secrets; an argument after ``--password`` is one, and so is the value of ``a.password=x``."""
    secrets, redacted, follows = list(secrets), [], False
    for argument in command:
        redacted.append(REDACTED if follows and not argument.startswith("-") else _redacted_string(argument, secrets))
        follows = argument.startswith("-") and "=" not in argument and is_secret_name(argument)
    return redacted


def secrets_of(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The values of environment variables that hold secrets, longest first; such values are removed wherever they stand."""
    values = {value for name, value in environment.items() if is_secret_name(name) and len(value) >= 8 and value[0] not in "/."}
    return sorted(values, key=len, reverse=True)


def is_secret_name(name: str) -> bool:
    """Whether the value of a key, option or variable of this name is a secret.

    Example:
        >>> [is_secret_name(name) for name in ("db.password", "HF_TOKEN", "apiKey", "--api-key")]
        [True, True, True, True]
        >>> [is_secret_name(name) for name in ("tokenizer", "num_tokens", "token_type", "pad_token", "key", "password_file")]
        [False, False, False, False, False, False]
    """
    words = _words(name.rpartition(".")[2])
    if not words or words[-1] in _HARMLESS_ENDINGS:
        return False
    if any(word.removesuffix("s") in _SECRET_WORDS for word in words):
        return True
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last == "token":
        return before not in _HARMLESS_TOKENS
    if last in ("key", "keys"):
        return before in _SECRET_KEYS
    return last in _SECRET_ENDINGS or (last in ("pat", "pwd") and before != "")  # PWD alone is the current directory


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return [word.lower() for word in re.split(r"[^A-Za-z]+", spaced) if word]


def _redacted(value: Any, secrets: list[str], is_secret: bool) -> Any:
    if isinstance(value, Mapping):
        return {
            _redacted_string(key, secrets) if isinstance(key, str) else key: _redacted(
                item, secrets, is_secret=(is_secret and key != "_target_") or (isinstance(key, str) and is_secret_name(key))
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(item, secrets, is_secret) for item in value]
    if is_secret and value is not None and not isinstance(value, bool):
        return _masked(value) if isinstance(value, str) else REDACTED
    return _redacted_string(value, secrets) if isinstance(value, str) else value


def _masked(value: str) -> str:
    """``***``; of an interpolation, only a default that is written out."""
    without = _WITH_DEFAULT.sub(rf"${{oc.env:\1,{REDACTED}}}", value)
    return without if value == "" or _INTERPOLATION.fullmatch(without) else REDACTED


def _redacted_string(text: str, secrets: Iterable[str]) -> str:
    override = _OVERRIDE.fullmatch(text)
    if override and is_secret_name(override["key"]):
        return f"{override['key']}={_masked(override['value'])}"
    return redact_text(text, secrets)


def _redacted_option(match: re.Match[str]) -> str:
    return f"{match['option']}{match['space']}{REDACTED}" if is_secret_name(match["option"]) else match[0]


def _redacted_line(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"]) or _CODE.fullmatch(match["value"]):
        return match[0]
    return f"{match['before']}{_masked(match['value'].rstrip())}"


def _without_named(text: str) -> str:
    kept, position = [], 0
    for name in _NAMED.finditer(text):
        value = _VALUE.match(text, name.end()) if name.start() >= position and is_secret_name(name["name"]) else None
        if value is None or value["quoted"] == "" or (value["plain"] and _CODE.fullmatch(value["plain"])):
            continue
        quote = value["quote"] or ""
        kept += [text[position : name.end()], quote, _masked(value["quoted"] or value["plain"]), quote]
        position = value.end()
    return "".join([*kept, text[position:]])
