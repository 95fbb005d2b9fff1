"""Makes tokens with PyJWT, good ones and forged ones, and prints them with their keys as one JSON object."""
import base64
import hashlib
import hmac
import json
import sys
import time

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET = "a secret of this test, and of no use anywhere else, which is long enough for HS512"
NOW = int(time.time())
CLAIMS = {"sub": "ann", "exp": NOW + 3600, "headcount": {"join": ["room:*"]}}


def b64(data):
    if not isinstance(data, bytes):
        data = data.encode() if isinstance(data, str) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def hs256(header, claims=CLAIMS, secret=SECRET):
    message = f"{b64(header)}.{b64(claims)}"
    return f"{message}.{b64(hmac.new(secret.encode(), message.encode(), hashlib.sha256).digest())}"


rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
weak_rsa = rsa.generate_private_key(public_exponent=65537, key_size=1024)
p256, p384, p521 = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))
ed = ed25519.Ed25519PrivateKey.generate()
strangers = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
signers = {
    "HS256": SECRET, "HS384": SECRET, "HS512": SECRET, "RS256": rsa_key, "PS256": rsa_key,
    "ES256": p256, "ES384": p384, "EdDSA": ed,
}
cases = []


def case(name, token, refused=""):
    cases.append({"name": name, "token": token, "refused": refused})


for algorithm, key in signers.items():
    good = jwt.encode(CLAIMS, key, algorithm=algorithm)
    header, body, signature = good.split(".")
    case(f"{algorithm}", good)
    case(f"{algorithm} with a kid", jwt.encode(CLAIMS, key, algorithm=algorithm, headers={"kid": "of-the-set"}), "")
    case(f"{algorithm} of a key that is not known by name",
         jwt.encode(CLAIMS, strangers.get(algorithm, strangers["RS256"] if algorithm == "PS256" else "x" * 64),
                    algorithm=algorithm, headers={"kid": "elsewhere"}), "does not know")
    stranger = strangers.get(algorithm, strangers["RS256"] if algorithm == "PS256" else "another secret, as long as it is needed for this, and longer")
    case(f"{algorithm} by a stranger", jwt.encode(CLAIMS, stranger, algorithm=algorithm), "not signed")
    other = b64({**CLAIMS, "sub": "bob"})
    case(f"{algorithm} with other claims", f"{header}.{other}.{signature}", "not signed")
    case(f"{algorithm} without a signature", f"{header}.{body}.", "not signed")
    case(f"{algorithm} with a signature of zeros", f"{header}.{body}.{b64(bytes(len(signature) * 3 // 4))}", "not signed")
    case(f"{algorithm} cut in the signature", good[:-10], "signed")
    case(f"{algorithm} cut in the claims", good[: len(header) + 5], "not a signed JSON")
    case(f"{algorithm} with more behind", f"{good}.{signature}", "not a signed JSON")
    case(f"{algorithm} expired", jwt.encode({**CLAIMS, "exp": NOW - 60}, key, algorithm=algorithm), "expired")
    case(f"{algorithm} not yet", jwt.encode({**CLAIMS, "nbf": NOW + 60}, key, algorithm=algorithm), "not valid yet")
    case(f"{algorithm} without an end", jwt.encode({"sub": "ann"}, key, algorithm=algorithm), "no exp")
    for wrong in signers:
        if wrong != algorithm:
            case(f"{algorithm} that says it is {wrong}", f"{b64({'alg': wrong})}.{body}.{signature}", "not signed")
    critical = jwt.encode(CLAIMS, key, algorithm=algorithm, headers={"crit": ["exp"], "exp": 1})
    case(f"{algorithm} with crit", critical, "critical")

for none in ("none", "None", "NONE", "nOnE", ""):
    for signature in ("", b64(b"x")):
        case(f"alg {none!r} {signature!r}", f"{b64({'alg': none, 'typ': 'JWT'})}.{b64(CLAIMS)}.{signature}", "algorithm")
case("no alg", hs256({"typ": "JWT"}), "not a signed JSON")
case("alg that is no text", hs256({"alg": ["HS256"]}), "not a signed JSON")
for name, key in (("RS256", rsa_key), ("ES256", p256), ("ES384", p384), ("EdDSA", ed)):
    for text in (pem(key), pem(key).strip(), pem(key).replace("\n", "\r\n")):
        case(f"HMAC with the public key of {name}", hs256({"alg": "HS256"}, secret=text), "not signed")
raw = ed.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
message = f"{b64({'alg': 'HS256'})}.{b64(CLAIMS)}"
case("HMAC with the bytes of a public key",
     f"{message}.{b64(hmac.new(raw, message.encode(), hashlib.sha256).digest())}", "not signed")
case("HMAC with nothing", hs256({"alg": "HS256"}, secret=""), "not signed")
for name, key in (("RS384", rsa_key), ("PS512", rsa_key), ("ES512", p521)):
    case(f"{name}, which is not taken", jwt.encode(CLAIMS, key, algorithm=name), "algorithm")
case("RSA of 1024 bits", jwt.encode(CLAIMS, weak_rsa, algorithm="RS256"), "not signed")
message = f"{b64({'alg': 'ES256'})}.{b64(CLAIMS)}"
case("ES256 in DER", f"{message}.{b64(p256.sign(message.encode(), ec.ECDSA(hashes.SHA256())))}", "not signed")
message = f"{b64({'alg': 'RS256'})}.{b64(CLAIMS)}"
case("RS256 with SHA-1", f"{message}.{b64(rsa_key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA1()))}", "not signed")

own = strangers["EdDSA"].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
embedded = {"kty": "OKP", "crv": "Ed25519", "x": b64(own)}
for header in ({"jwk": embedded}, {"jku": "https://evil.example/"}, {"x5u": "https://evil.example/"}, {"x5c": ["AAAA"]}):
    case(f"a key of its own in {next(iter(header))}",
         jwt.encode(CLAIMS, strangers["EdDSA"], algorithm="EdDSA", headers=header), "not signed")
for kid in ("../../../../dev/null", "/etc/passwd", "' UNION SELECT 'x' --", "|ls", "\x00", ""):
    case(f"kid {kid!r}", hs256({"alg": "HS256", "kid": kid}, secret=""), "does not know")
case("kid of 10 KiB", hs256({"alg": "HS256", "kid": "k" * 5000}), "not a signed JSON")
case("crit that is empty", hs256({"alg": "HS256", "crit": []}), "critical")
case("b64 false", hs256({"alg": "HS256", "b64": False}), "critical")
case("an alg twice", hs256('{"alg":"none","alg":"HS256"}'), "not a signed JSON")
for claims in ('{"sub":"ann","sub":"bob","exp":%d}', '{"exp":%d,"exp":99999999999}',
               '{"exp":%d,"headcount":{"join":["a"],"join":["*"]}}'):
    case(f"twice: {claims}", hs256({"alg": "HS256"}, claims % (NOW + 60)), "a claim")
for name, claims in {
    "sub of 5 KiB": {"sub": "x" * 5000}, "sub with a control character": {"sub": "a\x07b"}, "sub with a line end": {"sub": "a\nb"},
    "sub that is a number": {"sub": 1}, "exp that is a text": {"exp": "soon"}, "rights that are a text": {"headcount": "all"},
    "patterns without end": {"headcount": {"join": ["a"] * 1000}}, "info of 2 KiB": {"info": "x" * 2048},
}.items():
    case(name, hs256({"alg": "HS256"}, {**CLAIMS, **claims}), "a claim")
case("claims that are a list", hs256({"alg": "HS256"}, "[]"), "a claim")
case("claims nested 5,000 deep", hs256({"alg": "HS256"}, '{"exp":' + "[" * 2500 + "]" * 2500 + "}"), "a claim")
case("claims that are not UTF-8", hs256({"alg": "HS256"}, b'{"sub":"\xff","exp":9999999999}'), "a claim")
case("a token of 1 MiB", hs256({"alg": "HS256"}, {**CLAIMS, "x": "x" * (1 << 20)}), "longer")
good = jwt.encode(CLAIMS, SECRET, algorithm="HS256")
for name, token in {"nothing": "", "a dot": ".", "two dots": "..", "four dots": "....", "five parts": f"{good}.{good}",
                    "spaces around": f" {good} ", "a line end": f"{good}\n", "padding": f"{good}=", "Bearer": f"Bearer {good}",
                    "not ASCII": good.replace("e", "é", 1), "a zero": good + "\0"}.items():
    case(f"{name}", token, "not a signed JSON")
header, body, signature = good.split(".")
standard = base64.b64encode(base64.urlsafe_b64decode(signature + "==")).decode().rstrip("=")
if standard != signature:
    case("base64 of the other alphabet", f"{header}.{body}.{standard}", "not a signed JSON")

jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key()))
jwks = {"keys": [
    {**jwk, "kid": "of-the-set"},
    {"kty": "RSA", "kid": "weak", **{k: v for k, v in json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(weak_rsa.public_key())).items() if k in "ne"}},
    {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(p256.public_key())), "kid": "of-the-set"},
    {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(p384.public_key())), "kid": "of-the-set"},
    {**json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(ed.public_key())), "kid": "of-the-set"},
    {"kty": "oct", "k": b64(SECRET), "kid": "of-the-set"},
]}
json.dump({
    "secret": SECRET, "pems": [pem(key) for key in (rsa_key, p256, p384, ed)],
    "weak": [pem(weak_rsa), pem(p521)], "jwks": jwks, "cases": cases,
}, sys.stdout)
