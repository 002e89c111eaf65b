#!/usr/bin/env python3
"""Drives every operation of the service's official Python client against the example server.

    python3 tests/official_client.py target/release/examples/rest_server

The client is installed from PyPI into a virtual environment that is thrown away; a Python that has it already is used
as it is. The server gets a temporary gallery, a free port, keys and a token. The client is not changed in any way: it
signs its requests with its own code. Each call's answer is printed and asserted.
"""

import base64
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import venv
import zlib

CLIENT = "huaweicloudsdkimagesearch"
# The last version with the operations of the API reference; later ones speak another API.
VERSION = "3.1.53"
ACCESS, SECRET, TOKEN, PROJECT = "AKAKAKAK", "SKSKSKSK", "TOKEN-123", "p0"
INSTANCE = "test-instance"


def has_client():
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(CLIENT) == VERSION
    except PackageNotFoundError:
        return False


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    server = os.path.abspath(sys.argv[1])
    if has_client():
        return drive(server)
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = os.path.join(directory, "Scripts" if os.name == "nt" else "bin", "python")
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{CLIENT}=={VERSION}"]
        subprocess.run([python, *install], check=True)
        sys.exit(subprocess.run([python, os.path.abspath(__file__), server]).returncode)


def png(width=240, height=200, pixel=lambda x, y: (x % 256, y % 256, (x * y) % 256)):
    """An RGB picture of the format PNG."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Server:
    """The example server, as long as the `with` block runs."""

    def __init__(self, program, gallery, *options):
        self.arguments = [program, "--gallery", gallery, "--listen", "127.0.0.1:0", *options]

    def __enter__(self):
        self.process = subprocess.Popen(self.arguments, stdout=subprocess.PIPE, text=True)
        # A server that says nothing is ended, and so is the wait for its first line.
        watchdog = threading.Timer(120, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        assert line.startswith("Listening on http://"), f"the server said {line!r}"
        self.url = line.split()[-1]
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGINT)
        rest, _ = self.process.communicate(timeout=120)
        if kind is None:
            assert (self.process.returncode, rest) == (0, "Stopped\n"), (self.process.returncode, rest)


def drive(program):
    with tempfile.TemporaryDirectory() as gallery:
        keys = ["--access-key", ACCESS, "--secret-key", SECRET, "--project", PROJECT]
        with Server(program, gallery, *keys, "--token", TOKEN) as server:
            signed(client(server.url))
            strangers(server.url)
            token(client(server.url, token=TOKEN))
            plain(server.url)
        # What was answered is there after a restart.
        with Server(program, gallery, *keys, "--token", TOKEN, "--token-seconds", "0") as server:
            after_restart(client(server.url), client(server.url, token=TOKEN))
        with Server(program, gallery, "--read-only") as server:
            read_only(client(server.url))
            page(server.url)
    print(f"{calls} calls, all answered as they should be")


def client(url, access=ACCESS, secret=SECRET, project=PROJECT, token=None):
    from huaweicloudsdkcore.auth.credentials import BasicCredentials as Basic
    from huaweicloudsdkcore.signer.signer import Signer
    from huaweicloudsdkimagesearch.v1 import ImageSearchClient

    # The client signs, and has no credentials that are a token. A subclass of the same name (the name is what it
    # compares) sends one in place of a signature.
    class BasicCredentials(Basic):
        def sign_request(self, request):
            request.header_params["X-Auth-Token"] = token
            Signer.process_request_uri(request)
            return request

    kind = Basic if token is None else BasicCredentials
    builder = ImageSearchClient.new_builder().with_credentials(kind(access, secret, project))
    return builder.with_endpoint(url).build()


calls = 0


def call(name, function, **expected):
    """Makes a call; `code` is the expected refusal, everything else fields of the answer."""
    from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException

    global calls
    calls += 1
    code = expected.pop("code", None)
    try:
        answer = function()
        status, body = answer.status_code, answer.to_dict()
        print(f"{name:34} {status} {json.dumps(body, ensure_ascii=False)}")
        assert code is None and status == 200, f"{name}: {code} was expected"
        for field, value in expected.items():
            assert body[field] == value, f"{name}: {field} is {body[field]!r} and not {value!r}"
        return body
    except ServiceResponseException as error:
        print(f"{name:34} {error.status_code} {error.error_code} {error.error_msg}")
        assert (error.status_code, error.error_code) == (400, code), f"{name}: {code} was expected"
        assert error.error_msg and error.request_id, error


def signed(c):
    """All eight operations, and what is wrong with requests."""
    from huaweicloudsdkimagesearch.v1 import (
        AddPictureRequestReq, CreateInstanceReq, DeletePictureReq, RunAddPictureRequest, RunCheckPictureRequest,
        RunCreateInstanceRequest, RunDeleteInstanceRequest, RunDeletePictureRequest, RunModifyPictureReq,
        RunModifyPictureRequest, RunQueryInstanceRequest, RunSearchPictureRequest, SearchBoxDetail, SearchPictureReq,
    )

    create = lambda **body: lambda: c.run_create_instance(RunCreateInstanceRequest(CreateInstanceReq(**body)))
    query = lambda name=INSTANCE: lambda: c.run_query_instance(RunQueryInstanceRequest(name))
    remove = lambda name=INSTANCE: lambda: c.run_delete_instance(RunDeleteInstanceRequest(name))
    add = lambda name=INSTANCE, **body: lambda: c.run_add_picture(RunAddPictureRequest(name, AddPictureRequestReq(**body)))
    check = lambda **body: lambda: c.run_check_picture(RunCheckPictureRequest(INSTANCE, DeletePictureReq(**body)))
    modify = lambda **body: lambda: c.run_modify_picture(RunModifyPictureRequest(INSTANCE, RunModifyPictureReq(**body)))
    delete = lambda **body: lambda: c.run_delete_picture(RunDeletePictureRequest(INSTANCE, DeletePictureReq(**body)))
    search = lambda name=INSTANCE, **body: lambda: c.run_search_picture(RunSearchPictureRequest(name, SearchPictureReq(**body)))

    text = lambda picture: base64.b64encode(picture).decode()
    waves = text(png())
    dark = text(png(pixel=lambda x, y: (x // 8, 40 if (x // 20 + y // 20) % 2 else 0, y // 8)))
    key = "https://bucket.obs.example.com/image/\u56fe 1.jpg"

    # Instances.
    info = {
        "instance_name": INSTANCE, "domain": "common-search", "desc": "d", "level": 30000000, "expired_date": -1,
        "tags": ["tag1", "tag2"], "status": "NORMAL",
    }
    whole = {"name": INSTANCE, "model": "common-search", "description": "d", "level": 30000000, "tags": ["tag1", "tag2"]}
    made = call("create instance", create(**whole), **info)
    assert abs(made["register_date"] / 1000 - time.time()) < 600, made
    call("create instance again", create(name=INSTANCE, model="common-search"), code="IS.3000")
    call("create instance, name of capitals", create(name="Test", model="common-search"), code="IS.0007")
    call("create instance without a model", create(name="other"), code="IS.0001")
    call("create instance, other model", create(name="other", model="furniture-search"), code="IS.3014")
    call("create instance, other level", create(name="other", model="common-search", level=1000000), code="IS.3035")
    call("create instance, level as text", create(name="other", model="common-search", level="x"), code="IS.0002")
    call("create instance, 11 tags", create(name="other", model="common-search", tags=list("abcdefghijk")), code="IS.3024")
    call("create instance, tag of capitals", create(name="other", model="common-search", tags=["Tag"]), code="IS.3026")
    call("create instance, long description", create(name="other", model="common-search", description="x" * 513), code="IS.3036")
    call("query instance", query(), register_date=made["register_date"], **info)
    call("query unknown instance", query("other"), code="IS.3005")

    # Adding.
    call("add", add(path="../image.jpg", file=waves), result="Success")
    call("add with a tag", add(path="a.jpg", file=waves, tags={"tag1": "cat"}), result="Success")
    call("add with several values", add(path=key, file=dark, tags={"tag1": ["cat", "dog"], "tag2": "x"}), result="Success")
    call("add, path alone", add(path="https://bucket.obs.example.com/b.jpg"), code="IS.2000")
    call("add without a path", add(file=waves), code="IS.0003")
    call("add, empty path", add(path="", file=waves), code="IS.2012")
    call("add, path as a number", add(path=1, file=waves), code="IS.0002")
    call("add, no base64", add(path="b.jpg", file="@@@"), code="IS.2007")
    call("add, no picture", add(path="b.jpg", file=text(b"GIF89a" + bytes(100))), code="IS.2001")
    call("add, half a picture", add(path="b.jpg", file=text(png()[:2000])), code="IS.2002")
    call("add, too small", add(path="b.jpg", file=text(png(99, 100))), code="IS.2107")
    call("add, too large", add(path="b.jpg", file=text(png(2049, 100))), code="IS.2106")
    call("add, unknown tag", add(path="b.jpg", file=waves, tags={"tag3": "x"}), code="IS.1004")
    call("add, empty tag value", add(path="b.jpg", file=waves, tags={"tag1": ""}), code="IS.1002")
    call("add, tag value as a number", add(path="b.jpg", file=waves, tags={"tag1": 1}), code="IS.0002")
    call("add, 11 tags", add(path="b.jpg", file=waves, tags={c: "x" for c in "abcdefghijk"}), code="IS.1003")
    call("add, 13 MB", add(path="b.jpg", file="A" * 13_000_000), code="IS.0006")
    call("add to unknown instance", add("other", path="b.jpg", file=waves), code="IS.2019")

    # Checking.
    call("check", check(path="a.jpg"), exist="true")
    call("check, path of many letters", check(path=key), exist="true")
    call("check what is not there", check(path="b.jpg"), exist="false")
    call("check without a path", check(), code="IS.0003")

    # Searching.
    def found(name, function, *paths, count=None, code=None):
        page = call(name, function, **({"code": code} if code else {}))
        if not code:
            assert [hit["path"] for hit in page["result"]] == list(paths), page
            assert page["count"] == (len(paths) if count is None else count), page
            return page["result"]

    hits = found("search by a picture", search(file=waves, limit=10, offset=0), "../image.jpg", "a.jpg", key)
    assert [hit["sim"] for hit in hits[:2]] == [1.0, 1.0] and 0 <= hits[2]["sim"] < 1, hits
    assert [hit["tags"] for hit in hits] == [{}, {"tag1": "cat"}, {"tag1": ["cat", "dog"], "tag2": "x"}], hits
    hits = found("search by a path", search(path="a.jpg"), "a.jpg", "../image.jpg", key)
    assert hits[0]["sim"] == 1.0, hits
    found("search, limit and offset", search(path="a.jpg", limit=1, offset=1), "../image.jpg", count=3)
    found("search, offset past the end", search(path="a.jpg", offset=9), count=3)
    found("search by path and tag", search(path="a.jpg", tags={"tag1": "dog"}), key)
    found("search by picture and tags", search(file=dark, tags={"tag1": ["dog", "cat"]}), key, "a.jpg")
    hits = found("search by a tag", search(tags={"tag1": "cat"}, limit=10, offset=0), "a.jpg", key)
    assert [hit["sim"] for hit in hits] == [1.0, 1.0], hits
    found("search by an unknown value", search(tags={"tag1": "Cat"}))
    box = SearchBoxDetail(x=1, y=2, width=20, height=50)
    found("search by a box", search(file=waves, is_crop=True, box=box, limit=1), "../image.jpg", count=3)
    found("search by a box, no is_crop", search(file=waves, box=SearchBoxDetail(x=240)), code="IS.1008")
    found("search, box not to be used", search(file=waves, is_crop=False, box=SearchBoxDetail(x=240), limit=1), "../image.jpg", count=3)
    found("search, is_crop without a box", search(file=waves, is_crop=True), code="IS.0001")
    found("search by a path and a box", search(path="a.jpg", box=box), code="IS.2000")
    found("search by an unknown path", search(path="b.jpg"), code="IS.2000")
    found("search by nothing", search(), code="IS.2015")
    found("search by an empty file", search(file=""), code="IS.2013")
    found("search, no base64", search(file="@@@"), code="IS.2007")
    found("search, limit 0", search(path="a.jpg", limit=0), code="IS.1010")
    found("search, limit 101", search(path="a.jpg", limit=101), code="IS.1010")
    found("search, limit as text", search(path="a.jpg", limit="ten"), code="IS.0002")
    found("search, offset -1", search(path="a.jpg", offset=-1), code="IS.1011")
    found("search, unknown tag", search(path="a.jpg", tags={"tag3": "x"}), code="IS.1004")
    found("search unknown instance", search("other", path="a.jpg"), code="IS.2019")

    # Changing tags.
    call("modify", modify(path="a.jpg", tags={"tag2": "new"}), result="Success")
    found("search by the new tag", search(tags={"tag2": "new"}), "a.jpg")
    found("search by the old tag", search(tags={"tag1": "cat"}), key)
    call("modify without tags", modify(path="a.jpg"), code="IS.2009")
    call("modify without a path", modify(tags={"tag1": "x"}), code="IS.0003")
    call("modify what is not there", modify(path="b.jpg", tags={"tag1": "x"}), code="IS.1007")

    # Deleting.
    call("delete", delete(path="a.jpg"), result="Success")
    call("check what was deleted", check(path="a.jpg"), exist="false")
    call("delete again", delete(path="a.jpg"), code="IS.1006")
    call("delete without a path", delete(), code="IS.0003")
    call("create another instance", create(name="other", model="common-search"), desc="", tags=[])
    call("delete instance", remove("other"), result="success")
    call("delete instance again", remove("other"), code="IS.3005")
    call("add to the deleted instance", add("other", path="a.jpg", file=waves), code="IS.2019")


def strangers(url):
    """Requests that the server must not accept."""
    from huaweicloudsdkimagesearch.v1 import RunQueryInstanceRequest

    query = lambda c: lambda: c.run_query_instance(RunQueryInstanceRequest(INSTANCE))
    call("wrong secret key", query(client(url, secret="other")), code="IS.0017")
    call("wrong access key", query(client(url, access="other")), code="IS.0017")
    call("wrong project", query(client(url, project="p1")), code="IS.0019")
    call("wrong token", query(client(url, token="other")), code="IS.0004")
    call("empty token", query(client(url, token="")), code="IS.0013")


def token(c):
    from huaweicloudsdkimagesearch.v1 import DeletePictureReq, RunCheckPictureRequest

    call("check with a token", lambda: c.run_check_picture(RunCheckPictureRequest(INSTANCE, DeletePictureReq(path="../image.jpg"))), exist="true")


def plain(url):
    """Requests that the client cannot make."""
    token = {"X-Auth-Token": TOKEN}
    old = {"Authorization": f"SDK-HMAC-SHA256 Access={ACCESS}, SignedHeaders=host;x-sdk-date, Signature=00"}
    image = f"/v1/{PROJECT}/{INSTANCE}/image"
    flat = b'{"tags": {"tag1": "dog"}, "isCrop": false, "x": 0, "y": 0, "width": 1, "height": 1}'
    for name, method, path, headers, body, code in [
        ("no credentials", "GET", f"/v1/{PROJECT}/service/{INSTANCE}", {}, None, "IS.0005"),
        ("no date", "GET", f"/v1/{PROJECT}/service/{INSTANCE}", old, None, "IS.0005"),
        ("old date", "GET", f"/v1/{PROJECT}/service/{INSTANCE}", {**old, "X-Sdk-Date": "20200101T000000Z"}, None, "IS.0021"),
        ("other scheme", "GET", f"/v1/{PROJECT}/service/{INSTANCE}", {"Authorization": "Basic eDp5"}, None, "IS.0005"),
        ("no credentials, long body", "POST", image, {}, bytes(5_000_000), "IS.0005"),
        ("other method", "PATCH", image, token, b"{}", "IS.0010"),
        ("other path", "GET", "/", token, None, "IS.0010"),
        ("no JSON", "POST", image, token, b'{"path": ', "IS.0008"),
        ("no object", "POST", image, token, b"[]", "IS.0002"),
        ("no body", "DELETE", image, token, None, "IS.0008"),
        ("body too large", "POST", image + "/check", token, bytes(20_000_000), "IS.0006"),
        ("the older form of a box", "POST", image + "/search", token, flat, None),
    ]:
        send(name, url, method, path, headers, body, code)


def page(url):
    """A request as a page of a stranger makes it in a browser, to a server without keys and token."""
    send("a page's request", url, "GET", f"/v1/{PROJECT}/service/{INSTANCE}", {"Origin": "http://example.com"}, None, "IS.0017")


def send(name, url, method, path, headers, body, code):
    global calls
    calls += 1
    request = urllib.request.Request(url + path, body, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            status, answer = response.status, json.load(response)
    except urllib.error.HTTPError as error:
        status, answer = error.code, json.load(error)
    print(f"{name:34} {status} {json.dumps(answer)}")
    expected = (200, None) if code is None else (400, code)
    assert (status, answer.get("error_code")) == expected, f"{name}: {code} was expected"


def after_restart(c, late):
    from huaweicloudsdkimagesearch.v1 import (
        DeletePictureReq, RunCheckPictureRequest, RunQueryInstanceRequest, RunSearchPictureRequest, SearchPictureReq,
    )

    check = lambda c: lambda: c.run_check_picture(RunCheckPictureRequest(INSTANCE, DeletePictureReq(path="../image.jpg")))
    call("check after a restart", check(c), exist="true")
    call("search after a restart", lambda: c.run_search_picture(RunSearchPictureRequest(INSTANCE, SearchPictureReq(path="../image.jpg"))), count=2)
    call("expired token", check(late), code="IS.0021")
    call("query after a restart", lambda: c.run_query_instance(RunQueryInstanceRequest(INSTANCE)), status="NORMAL")


def read_only(c):
    from huaweicloudsdkimagesearch.v1 import (
        DeletePictureReq, RunCheckPictureRequest, RunDeleteInstanceRequest, RunDeletePictureRequest,
    )

    body = DeletePictureReq(path="../image.jpg")
    call("read-only: check", lambda: c.run_check_picture(RunCheckPictureRequest(INSTANCE, body)), exist="true")
    call("read-only: delete", lambda: c.run_delete_picture(RunDeletePictureRequest(INSTANCE, body)), code="IS.0011")
    call("read-only: delete instance", lambda: c.run_delete_instance(RunDeleteInstanceRequest(INSTANCE)), code="IS.0011")


if __name__ == "__main__":
    main()
