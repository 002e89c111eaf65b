"""Runs the example against an S3-compatible server: moto's, installed from PyPI into a virtual environment.

    python3 examples/object_store/against_server.py TARGET/release/lookalike-object-store

Ends with an error if a picture of the bucket is not found.
"""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import venv

HERE = pathlib.Path(__file__).resolve().parent
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


def main() -> None:
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        env = pathlib.Path(scratch) / "env"
        venv.create(env, with_pip=True)
        subprocess.run([env / "bin/pip", "install", "-q", "moto[server,s3]", "boto3"], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen([env / "bin/moto_server", "-H", "127.0.0.1", "-p", str(port)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            endpoint = f"http://127.0.0.1:{port}"
            wait(port)
            fill = f"""
import boto3, pathlib
s3 = boto3.client("s3", endpoint_url="{endpoint}", region_name="us-east-1")
s3.create_bucket(Bucket="photos")
for file in sorted(pathlib.Path(r"{HERE.parent / 'pictures'}").glob("*.jpg")):
    s3.put_object(Bucket="photos", Key="2026/" + file.name, Body=file.read_bytes())
s3.put_object(Bucket="photos", Key="2026/broken.jpg", Body=b"no picture")
"""
            subprocess.run([env / "bin/python", "-c", fill], check=True, env=os.environ | KEYS)
            command = [program, "--gallery", str(pathlib.Path(scratch) / "g"), "--bucket", "photos",
                       "--endpoint", endpoint, "--prefix", "2026"]
            out = subprocess.run(command, check=True, env=os.environ | KEYS, capture_output=True, text=True).stdout
            print(out)
            pictures = len(list((HERE.parent / "pictures").glob("*.jpg")))
            assert f"{pictures} pictures" in out, "not all pictures of the bucket were added"
            assert "Skipped 2026/broken.jpg: IS.2001" in out, "the broken picture was not told"
            assert "2026/astronaut.jpg" in out.splitlines()[2], "a part of a stored picture was not found"
        finally:
            server.terminate()
            server.wait()


def wait(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server does not answer")


main()
