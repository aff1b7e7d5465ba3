"""Wycheproof's signature vectors through VERIFY_DIGEST of the PTA; skipped where the vectors are not at hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from ta_bench import FakeBus

from ta.image_format import SignType
from ta.profile import FirewallProfile, Profile
from ta.remoteproc_pta import RemoteprocPta
from ta.results import RefusedError

VECTORS = Path(__file__).parents[3] / "shared" / "wycheproof"
RSA, ECDSA = SignType.RSASSA_PKCS1_V1_5_SHA256, SignType.ECDSA_P256_SHA256
#: The case with a DigestInfo that is tagged as SET (0x31): the library of the reference takes it for a SEQUENCE.
SET_TAG = 43
FILES = {
    "rsa_signature_2048_sha256_test.json": RSA,
    "rsa_signature_3072_sha256_test.json": RSA,
    "rsa_signature_4096_sha256_test.json": RSA,
    "ecdsa_secp256r1_sha256_p1363_test.json": ECDSA,
}


def accepted(pta: RemoteprocPta, kind: SignType, message: bytes, signature: bytes, *, strict: bool = False) -> bool:
    digest = hashlib.sha256(message).digest()
    try:
        pta.verify_digest(0, kind, digest, signature)
    except RefusedError:
        first = False
    else:
        first = True
    try:
        pta.confirm_digest(kind, digest, signature)
    except RefusedError:
        second = False
    else:
        second = True
    if strict:
        assert first is second  # the two decisions agree
    return first


def device(group: dict[str, Any], profile: Profile) -> RemoteprocPta:
    der = group.get("publicKeyDer") or group["keyDer"]
    key = load_der_public_key(bytes.fromhex(der))
    assert isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey))
    return RemoteprocPta(
        bus=FakeBus(), key=key, profile=profile, firewall=FirewallProfile.OPEN, sink=lambda _event: None
    )


@pytest.mark.parametrize("name", FILES)
def test_signatures_are_judged_as_wycheproof_judges_them(name: str) -> None:
    path = VECTORS / name
    if not path.is_file():
        pytest.skip(f"{name} is not at hand")
    counts = {"valid": 0, "invalid": 0, "acceptable": 0}
    for group in json.loads(path.read_text(encoding="utf-8"))["testGroups"]:
        hardened, upstream = (device(group, profile) for profile in (Profile.HARDENED, Profile.UPSTREAM))
        for case in group["tests"]:
            arguments = (FILES[name], bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            counts[case["result"]] += 1
            # "acceptable": a DigestInfo without NULL, which only the library of the reference takes.
            assert accepted(hardened, *arguments, strict=True) is (case["result"] == "valid"), case
            if FILES[name] is RSA:
                lenient = case["result"] == "acceptable" or case["tcId"] == SET_TAG
                assert accepted(upstream, *arguments) is (case["result"] == "valid" or lenient), case
            else:
                assert not accepted(upstream, *arguments)  # RSA only on STM32MP1
    assert counts["valid"]
    assert counts["invalid"]
