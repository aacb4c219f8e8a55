"""Opens sealed files with contrib/recover.py as the tests tell it: a JSON object
a line in, one out. See python_test.go."""

import base64
import hashlib
import io
import json
import sys

sys.path.insert(0, sys.argv[1])
import recover  # noqa: E402

# What is tested is Argon2id in Python, not what this machine has besides.
recover.argon2_of_cryptography = recover.argon2_of_argon2_cffi = lambda *_: None


def answer(case: dict) -> dict:
    given, length, kind, text, trailer = hashlib.sha256(), 0, "", "", None
    try:
        ids = (bytes.fromhex(case[k]) if k in case else None for k in ("fs", "content"))
        sealed = recover.SealedFile(io.BytesIO(base64.b64decode(case["sealed"])), recover.vector_identities(case), *ids)
        for chunk in sealed.plaintext():
            given.update(chunk)
            length += len(chunk)
        trailer = sealed.trailer.as_json()
    except recover.SealError as e:
        kind, text = e.kind, str(e)
    except Exception as e:  # whatever else comes out is a mistake of the reader
        kind, text = "crash", repr(e)
    return {"kind": kind, "text": text, "length": length, "sha256": given.hexdigest(), "trailer": trailer}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
