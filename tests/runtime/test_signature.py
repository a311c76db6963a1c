"""Artefacts that must be signed: only those of the right key are loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import tdse
from tdse.errors import ArtefactError, UsageError
from tdse.runtime.artefact import METADATA

pytestmark = pytest.mark.tvm
_SIGNATURE = f"{METADATA}.sig"


def _save_public(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, path: Path) -> Path:
    path.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path


@pytest.fixture
def private() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


@pytest.fixture
def public(private: ed25519.Ed25519PrivateKey, tmp_path: Path) -> Path:
    return _save_public(private, tmp_path / "public.pem")


@pytest.fixture
def signed(copied: Path, private: ed25519.Ed25519PrivateKey) -> Path:
    (copied / _SIGNATURE).write_bytes(private.sign((copied / METADATA).read_bytes()))
    return copied


def _refused(directory: Path, key: Path, loaded_modules: list[Path]) -> str:
    with pytest.raises((ArtefactError, UsageError)) as error:
        tdse.load(directory, public_key=key)
    assert loaded_modules == []
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_right_key(signed: Path, public: Path) -> None:
    model = tdse.load(signed, public_key=public)
    assert len(model.run(model.random_inputs(0))) == 2


def test_another_key(signed: Path, tmp_path: Path, loaded_modules: list[Path]) -> None:
    other = _save_public(ed25519.Ed25519PrivateKey.generate(), tmp_path / "other.pem")
    assert "not that of this key" in _refused(signed, other, loaded_modules)


def test_no_signature(copied: Path, public: Path, loaded_modules: list[Path]) -> None:
    assert "signature cannot be read" in _refused(copied, public, loaded_modules)


def test_metadata_that_were_sealed_again(
    signed: Path, public: Path, loaded_modules: list[Path]
) -> None:
    text = (signed / METADATA).read_text()
    (signed / METADATA).write_text(text.replace('"seed": 0', '"seed": 1'))
    assert "not that of this key" in _refused(signed, public, loaded_modules)


@pytest.mark.parametrize("data", [b"", b"short", bytes(64), bytes(10_000)])
def test_a_damaged_signature(
    data: bytes, signed: Path, public: Path, loaded_modules: list[Path]
) -> None:
    (signed / _SIGNATURE).write_bytes(data)
    assert "not that of this key" in _refused(signed, public, loaded_modules)


def test_files_that_are_no_keys(signed: Path, tmp_path: Path, loaded_modules: list[Path]) -> None:
    other_kind = _save_public(ec.generate_private_key(ec.SECP256R1()), tmp_path / "other.pem")
    assert "of another kind" in _refused(signed, other_kind, loaded_modules)
    (tmp_path / "text.pem").write_text("no key")
    assert "cannot be read" in _refused(signed, tmp_path / "text.pem", loaded_modules)
    assert "cannot be read" in _refused(signed, tmp_path / "nowhere.pem", loaded_modules)


def test_the_command(copied: Path, public: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tdse.cli.main", "run", copied, "--public-key", public],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.startswith("tdse: error: ")
    assert len(process.stderr.splitlines()) == 1
