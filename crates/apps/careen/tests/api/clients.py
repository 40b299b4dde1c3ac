"""The AWS CLI and botocore's signer, driven by lines of JSON: one question a line in, one answer a line out.

The CLI is the unmodified one: its modules are loaded once, and every call is a fork that runs its main with the
arguments as they are typed. So a call costs a tenth of a second instead of a whole one.
"""

import datetime
import gc
import http.client
import json
import os
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import awscli.clidriver  # Brings botocore along, which newer CLIs carry inside.
from botocore import auth, awsrequest, credentials

CALL_SECONDS_MAX = 60


# What every call would read again: the models of the services.
DRIVER = awscli.clidriver.create_clidriver()
for service in ("ssm", "sts"):
    DRIVER.session.get_service_model(service)

# A child lives too short to collect anything; looking at what it shares would only copy it.
gc.disable()

real_now = auth.get_current_datetime


def set_clock(seconds):
    """The signer's clock goes wrong by so much."""
    auth.get_current_datetime = lambda *a, **k: real_now(*a, **k) + datetime.timedelta(seconds=seconds)


def call(question):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            run(question, out, err)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return {"code": os.waitstatus_to_exitcode(status), "stdout": texts[0], "stderr": texts[1]}


def run(question, out, err):
    """The child: never returns."""
    code = 255
    try:
        signal.alarm(CALL_SECONDS_MAX)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        driver = DRIVER
        if question["environment"]:
            os.environ.update(question["environment"])
            driver = awscli.clidriver.create_clidriver()
        set_clock(question["clock_seconds"])
        code = driver.main(question["aws"])
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:
        sys.stderr.write(repr(error))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def send(question):
    """One HTTP request exactly as asked; signed if a key is given."""
    host, port = question["address"].split(":")
    body = question["body"].encode() if question["body"] is not None else b"x" * question["body_bytes"]
    request = awsrequest.AWSRequest(
        method=question["method"],
        url="http://" + question["address"] + question["path"],
        headers=question["headers"],
        data=body,
    )
    if question["key"]:
        key = credentials.Credentials(*question["key"])
        auth.SigV4Auth(key, question["service"], question["region"]).add_auth(request)
    headers = dict(request.headers.items())
    headers.update(question["headers_afterwards"])
    connection = http.client.HTTPConnection(host, int(port), timeout=CALL_SECONDS_MAX)
    try:
        connection.request(question["method"], question["path"], body, headers)
    except (BrokenPipeError, ConnectionResetError):
        pass  # Answered before the body was through: the answer is there all the same.
    answer = connection.getresponse()
    found = {
        "status": answer.status,
        "headers": {name.lower(): value for name, value in answer.getheaders()},
        "body": answer.read().decode(),
    }
    connection.close()
    return found


def requests(question):
    set_clock(question["clock_seconds"])
    with ThreadPoolExecutor(len(question["requests"])) as pool:
        return list(pool.map(send, question["requests"]))


for line in sys.stdin:
    asked = json.loads(line)
    answer = call(asked) if "aws" in asked else requests(asked)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
