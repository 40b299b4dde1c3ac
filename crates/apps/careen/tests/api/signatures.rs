use serde_json::json;

use crate::clients::{Answer, Clients, Request};
use crate::server::{Place, Server};

const LIST: &[&str] = &["ssm", "describe-patch-baselines"];
const WHO: &[&str] = &["sts", "get-caller-identity"];
const UNKNOWN_KEY: &str = "AKIAABCDEFGHIJKLMNOP";

#[test]
fn only_the_right_key_opens_and_a_wrong_one_learns_nothing() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let key = place.key();

    let who = json!({"UserId": "000000000000", "Account": "000000000000", "Arn": "arn:aws:iam::000000000000:root"});
    assert_eq!(clients.aws(WHO), who);
    let keys = |id: &str, secret: &str, inside: &dyn Fn()| {
        clients.with_environment(&[("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)], inside);
    };
    keys(&key.0, "wrong", &|| {
        clients.refuses(LIST, "InvalidSignatureException", "does not match the signature you provided");
        clients.refuses(WHO, "SignatureDoesNotMatch", "does not match the signature you provided");
    });
    keys(UNKNOWN_KEY, &key.1, &|| {
        clients.refuses(LIST, "UnrecognizedClientException", "security token included in the request is invalid");
        clients.refuses(WHO, "InvalidClientTokenId", "security token included in the request is invalid");
    });
    clients.with_environment(
        &[("AWS_ACCESS_KEY_ID", &key.0), ("AWS_SECRET_ACCESS_KEY", &key.1), ("AWS_SESSION_TOKEN", "t")],
        || {
            clients.refuses(LIST, "UnrecognizedClientException", "invalid");
        },
    );

    for (clock_seconds, words) in [(-600, "Signature expired"), (600, "Signature not yet current")] {
        let (code, message) = clients.refused_with_clock(LIST, clock_seconds);
        assert!(code == "InvalidSignatureException" && message.starts_with(words), "{code} {message}");
        assert_eq!(clients.refused_with_clock(WHO, clock_seconds).0, "SignatureDoesNotMatch");
    }
    let list = [Request::ssm(&server.address(), "DescribePatchBaselines", "").signed(&key)];
    assert_eq!(clients.send_all(&list, 240)[0].status, 200, "five minutes are borne");
    // Not into the time before this server was there: whoever had its port then may have kept what was sent.
    let early = clients.send_all(&list, -240).remove(0);
    assert_eq!(early.error(), (400, "InvalidSignatureException".to_owned()));

    strangers_hear_the_same_whatever_they_ask(&server, &clients, &key);
    what_was_not_signed_does_not_count(&server, &clients, &key);
    assert_eq!(server.audit(&[]).len(), 1, "nothing was changed since the key was made");
    server.stop();
}

/// Status, body and the headers that depend on nothing but the answer.
fn heard(answer: &Answer) -> (u16, &str, Option<&String>) {
    assert_eq!(answer.headers.get("x-amzn-requestid").map(String::len), Some(36), "{answer:?}");
    (answer.status, &answer.body, answer.headers.get("content-type"))
}

fn strangers_hear_the_same_whatever_they_ask(server: &Server<'_>, clients: &Clients, key: &(String, String)) {
    let address = server.address();
    let questions = [
        Request::ssm(&address, "DescribePatchBaselines", "{}"),
        Request::ssm(&address, "ListAssociations", "{}"),
        Request::ssm(&address, "DeletePatchBaseline", r#"{"BaselineId": "pb-0123456789abcdef0"}"#),
        Request::ssm(&address, "DeletePatchBaseline", "{"),
        Request::ssm(&address, "CreateActivation", "[]"),
        Request::ssm(&address, "", ""),
        Request::new(&address, "POST", "/").header("Content-Type", "application/x-amz-json-1.1"),
    ];
    let unknown = (UNKNOWN_KEY.to_owned(), key.1.clone());
    let wrong = (key.0.clone(), "wrong".to_owned());
    let malformed = ("not a key".to_owned(), "x".to_owned());
    for (who, code) in [
        (Some(unknown), "UnrecognizedClientException"),
        (Some(malformed), "UnrecognizedClientException"),
        (Some(wrong), "InvalidSignatureException"),
        (None, "MissingAuthenticationTokenException"),
    ] {
        let asked: Vec<Request> = questions
            .iter()
            .map(|question| who.iter().fold(question.clone(), |question, key| question.signed(key)))
            .collect();
        let answers = clients.send_all(&asked, 0);
        for answer in &answers {
            assert_eq!(heard(answer), heard(&answers[0]), "{who:?}");
            assert_eq!(answer.error(), (400, code.to_owned()));
        }
    }
}

fn what_was_not_signed_does_not_count(server: &Server<'_>, clients: &Clients, key: &(String, String)) {
    let address = server.address();
    let list = || Request::ssm(&address, "DescribePatchBaselines", "{}");
    let json = "application/x-amz-json-1.1";
    let cases = [
        ("another service", list().service("ec2").signed(key), "InvalidSignatureException"),
        ("no region", list().region("US EAST").signed(key), "InvalidSignatureException"),
        (
            "another target",
            list().signed(key).header_afterwards("X-Amz-Target", "AmazonSSM.ListCommands"),
            "InvalidSignatureException",
        ),
        (
            "another type",
            list().signed(key).header_afterwards("Content-Type", "application/json"),
            "InvalidSignatureException",
        ),
        (
            "a target that was not signed",
            Request::new(&address, "POST", "/")
                .header("Content-Type", json)
                .signed(key)
                .header_afterwards("X-Amz-Target", "AmazonSSM.ListCommands"),
            "InvalidSignatureException",
        ),
        (
            "another body",
            list().header("X-Amz-Content-Sha256", &"0".repeat(64)).signed(key),
            "InvalidSignatureException",
        ),
        (
            "an unsigned body",
            list().header("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD").signed(key),
            "InvalidSignatureException",
        ),
        (
            "no signature",
            list().signed(key).header_afterwards("Authorization", "Basic eDp5"),
            "IncompleteSignatureException",
        ),
    ];
    for (what, request, code) in cases {
        assert_eq!(clients.send(&request).error(), (400, code.to_owned()), "{what}");
    }
    assert_eq!(clients.send(&list().signed(key)).status, 200);
    let presigned = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00";
    let presigned = Request::new(&address, "POST", presigned).header("X-Amz-Target", "AmazonSSM.ListCommands");
    assert_eq!(clients.send(&presigned).error().1, "IncompleteSignatureException");
}

#[test]
fn what_cannot_be_read_is_refused_as_aws_refuses_it() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let key = place.key();
    let address = server.address();
    let ask = |operation: &str, body: &str| clients.send(&Request::ssm(&address, operation, body).signed(&key));

    assert_eq!(ask("DescribePatchBaselines", "").status, 200, "an empty body is an empty structure");
    assert_eq!(ask("DescribePatchBaselines", r#"{"Unknown": [1]}"#).status, 200, "unknown members are ignored");
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for body in [
        "{",
        "not json",
        "[]",
        "null",
        "\"text\"",
        r#"{"MaxResults": "ten"}"#,
        r#"{"MaxResults": 1.5}"#,
        r#"{"Filters": {}}"#,
        &deep,
    ] {
        assert_eq!(
            ask("DescribePatchBaselines", body).error(),
            (400, "SerializationException".to_owned()),
            "{body:.40}"
        );
    }
    assert_eq!(ask("DescribePatchBaselines", r#"{"MaxResults": 0}"#).error().1, "ValidationException");
    let answer = ask("CreatePatchBaseline", "{}");
    assert!(
        answer.body.contains("Value null at 'name' failed to satisfy constraint: Member must not be null"),
        "{answer:?}"
    );

    let unknown = (400, "UnknownOperationException".to_owned());
    clients.refuses(&["ssm", "list-associations"], "UnknownOperationException", "");
    for operation in ["ListAssociations", "describepatchbaselines", ""] {
        assert_eq!(ask(operation, "{}").error(), unknown, "{operation}");
    }
    let without_target =
        Request::new(&address, "POST", "/").header("Content-Type", "application/x-amz-json-1.1").body("{}");
    assert_eq!(clients.send(&without_target.signed(&key)).error(), unknown);
    let elsewhere =
        Request::new(&address, "POST", "/elsewhere").header("X-Amz-Target", "AmazonSSM.ListCommands").signed(&key);
    assert_eq!(clients.send(&elsewhere).error(), (404, "UnknownOperationException".to_owned()));

    // Signed or not, what is too large is not read.
    let huge = Request::ssm(&address, "SendCommand", "").body_bytes((1 << 20) + 1);
    for request in [huge.clone(), huge.signed(&key)] {
        assert_eq!(clients.send(&request).error(), (413, "RequestEntityTooLargeException".to_owned()));
    }
    let largest = Request::ssm(&address, "SendCommand", "").body_bytes(1 << 20).signed(&key);
    assert_eq!(clients.send(&largest).error(), (400, "SerializationException".to_owned()));
    queries_are_refused_in_xml(&clients, &address, &key);
    whoever_just_looks_is_answered(&server);
    server.stop();
}

fn queries_are_refused_in_xml(clients: &Clients, address: &str, key: &(String, String)) {
    let form = |body: &str, service: &str| {
        let request = Request::new(address, "POST", "/")
            .header("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
        clients.send(&request.body(body).service(service).signed(key))
    };
    let who = "Action=GetCallerIdentity&Version=2011-06-15";
    let answer = form(who, "sts");
    assert!(answer.status == 200 && answer.headers["content-type"] == "text/xml", "{answer:?}");
    for (body, service, status, code) in [
        (who, "ssm", 403, "SignatureDoesNotMatch"),
        ("Action=AssumeRole&Version=2011-06-15", "sts", 400, "InvalidAction"),
        ("Version=2011-06-15", "sts", 400, "MissingAction"),
        ("Action=GetCallerIdentity&Version=1999-01-01", "sts", 400, "InvalidAction"),
        ("Action=%", "sts", 400, "MalformedQueryString"),
    ] {
        let answer = form(body, service);
        let says = answer.body.contains(&format!("<Code>{code}</Code>")) && answer.body.contains("<RequestId>");
        assert!(answer.status == status && says && answer.headers["content-type"] == "text/xml", "{body}: {answer:?}");
    }
}

/// A browser at the root is led to the console; nothing else answers a GET but what is there for it.
fn whoever_just_looks_is_answered(server: &Server<'_>) {
    let get = |path: &str| server.get(path).unwrap();
    let root = server.get_as("/", "text/html,*/*;q=0.8").unwrap();
    assert!(root.starts_with("HTTP/1.1 303 ") && root.contains("location: /console\r\n"), "{root}");
    let health = get("/healthz");
    assert!(health.starts_with("HTTP/1.1 200 ") && health.ends_with("\r\n\r\nok\n"), "{health}");
    let metrics = get("/metrics");
    assert!(metrics.contains("careen_requests_total{operation=\"DescribePatchBaselines\",code=\"OK\"}"), "{metrics}");
    assert!(!metrics.contains("ListAssociations"), "what does not exist makes no label: {metrics}");
    for path in ["/", "/nothing", "/.git/config", "/metrics/x"] {
        let answer = get(path);
        assert!(
            answer.starts_with("HTTP/1.1 404 ") && answer.ends_with(r#"{"__type":"UnknownOperationException"}"#),
            "{answer}"
        );
    }
}
