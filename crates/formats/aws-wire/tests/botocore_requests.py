#!/usr/bin/env python3
"""Records requests signed by botocore, for tests/sigv4.rs.

    python3 -m venv VENV && VENV/bin/pip install botocore==1.44.5
    VENV/bin/python botocore_requests.py > botocore_requests.json

Whole requests come from botocore's own clients; what no client would send (paths, queries, white space, repeated
headers) goes through its signer alone. Time stands still, so that the record is reproducible.
"""

import datetime
import hashlib
import json
import sys
from unittest import mock

import botocore
import botocore.auth
import botocore.session
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials

KEY = "AKIDCAREENEXAMPLE000"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SIGNED_AT = datetime.datetime(2026, 3, 1, 12, 30, 45, tzinfo=datetime.timezone.utc)


def text(value):
    return value.decode("utf-8") if isinstance(value, bytes) else value


def recorded(name, region, service, method, url, headers, body):
    rest = url.split("://", 1)[1]
    host, _, rest = rest.partition("/")
    path, _, query = ("/" + rest).partition("?")
    headers = [[text(key), text(value)] for key, value in headers]
    if not any(key.lower() == "host" for key, _ in headers):
        headers.insert(0, ["Host", host])
    return {
        "name": name,
        "region": region,
        "service": service,
        "method": method,
        "path": path,
        "query": query,
        "headers": headers,
        "body": text(body or b""),
    }


def from_client(name, region, service, operation, **arguments):
    session = botocore.session.Session()
    client = session.create_client(
        service,
        region_name=region,
        endpoint_url="http://127.0.0.1:8470",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    seen = []

    def instead_of_sending(request, **_):
        seen.append(request)
        raw = mock.Mock()
        raw.stream.return_value = iter([b"{}"])
        return AWSResponse(request.url, 500, {}, raw)

    client.meta.config.retries = {"max_attempts": 0}
    client.meta.events.register("before-send", instead_of_sending)
    try:
        getattr(client, operation)(**arguments)
    except Exception as error:  # The answer is of no interest.
        print(f"{name}: {type(error).__name__}", file=sys.stderr)
    request = seen[0]
    # These two name the machine or the attempt, and are not signed.
    headers = [(k, v) for k, v in request.headers.items() if k.lower() not in ("user-agent", "amz-sdk-invocation-id")]
    return recorded(name, region, service, request.method, request.url, headers, request.body)


def from_signer(name, method, url, headers=(), body=b"", region="eu-central-1", service="ssm"):
    request = AWSRequest(method=method, url=url, data=body)
    for key, value in headers:
        request.headers.add_header(key, value)
    botocore.auth.SigV4Auth(Credentials(KEY, SECRET), service, region).add_auth(request)
    return recorded(name, region, service, method, url, request.headers.items(), body)


def requests():
    yield from_client("DescribeInstanceInformation", "us-east-1", "ssm", "describe_instance_information")
    yield from_client(
        "SendCommand with text beyond ASCII",
        "eu-west-3",
        "ssm",
        "send_command",
        DocumentName="AWS-RunShellScript",
        Targets=[{"Key": "InstanceIds", "Values": ["*"]}],
        Parameters={"commands": ["echo 'Grüße, 世界'"]},
        Comment="a \"quoted\" comment",
    )
    yield from_client("GetCallerIdentity", "us-east-1", "sts", "get_caller_identity")
    base = "https://ssm.example.com:8443"
    yield from_signer("GET without a body", "GET", f"{base}/")
    yield from_signer("no path", "GET", "https://ssm.example.com")
    yield from_signer("dot segments and empty segments", "GET", f"{base}/a/./b/..//c/")
    yield from_signer("an encoded ARN in the path", "GET", f"{base}/tags/arn%3Aaws%3Assm%3A%3A1%2Fx", service="inspector2")
    yield from_signer("a query out of order", "GET", f"{base}/?b=2&a=x%20y&a=1&c=&A=0")
    yield from_signer("a query beyond ASCII", "GET", f"{base}/?k=%E1%88%B4&k2=%2B%2F%3D")
    body = b"{}"
    for name, headers in {
        "white space in headers": [("X-Amz-Target", "  AmazonSSM.X   y\t z "), ("My-Header", "\ta   b ")],
        "a repeated header": [("My-Header", "b"), ("My-Header", "a"), ("My-Header", " c  d ")],
        "an empty header": [("My-Header", "")],
        "a header beyond ASCII": [("My-Header", "Grüße 世界")],
        "the date as an HTTP date": [("Date", "replaced by the signer")],
        "a declared body": [("X-Amz-Content-SHA256", hashlib.sha256(body).hexdigest())],
    }.items():
        yield from_signer(name, "POST", f"{base}/", headers, body)


def main():
    frozen = mock.patch.object(
        botocore.auth,
        "get_current_datetime",
        lambda remove_tzinfo=True: SIGNED_AT.replace(tzinfo=None) if remove_tzinfo else SIGNED_AT,
    )
    with frozen:
        cases = list(requests())
    for case in cases:
        assert any(key == "Authorization" for key, _ in case["headers"]), case["name"]
    record = {
        "made_by": f"botocore {botocore.__version__}",
        "access_key_id": KEY,
        "secret": SECRET,
        "signed_at": SIGNED_AT.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "requests": cases,
    }
    json.dump(record, sys.stdout, indent=1, ensure_ascii=False)
    print()


main()
