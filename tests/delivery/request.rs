//! What goes over the wire, written out per dialect from its document and not from our table.

use chrono::TimeDelta;
use domain::{
    clock::Clock,
    dialect::{Dialect, DialectName, verify},
};
use serde_json::{Value, json};

use crate::{
    dialect_sign::{judged_wrongly_by_node, judged_wrongly_by_python},
    support::{
        Receiver, TestApp, TestOrg,
        receiver::{Received, Reply},
        webhook::{TYPES, text},
    },
};

/// Data with every trap for who prints JSON, as it is sent in …
const DATA_IN: &str = r#"{ "z": "na\u00efve \u2013 \u65e5\u672c", "a": "\" \\ \/ \t", "n": [1.0, 0.10, 1e21, -0, 9007199254740991], "e": {} }"#;
/// … and as `JSON.stringify` prints it.
const DATA_OUT: &str = r#"{"z":"naïve – 日本","a":"\" \\ / \t","n":[1,0.1,1e+21,0,9007199254740991],"e":{}}"#;

/// Publishes an event with the tricky data; its id without the prefix.
async fn publish(app: &TestApp, org: &TestOrg, event_type: &str) -> String {
    let body = format!(r#"{{"type":"{event_type}","data":{DATA_IN},"timestamp":"2026-03-02T11:59:58.765Z"}}"#);
    let key = org.key("ink_");
    let answer = app.send("POST", "/api/v1/events", &[("x-api-key", key)], Some(body)).await.expect(202);
    text(&answer["id"]).strip_prefix("evt_").unwrap().to_owned()
}

fn secret_of(endpoint: &Value) -> String {
    endpoint["secret"].as_str().unwrap_or("a-secret-of-the-story").to_owned()
}

/// The one request to a fresh endpoint of each dialect, with its secret, the event's id and the endpoint's.
async fn send_all(app: &TestApp, org: &TestOrg) -> Vec<(&'static str, Received, String, String, String)> {
    let mut sent = vec![];
    for (dialect, event_type) in TYPES {
        let receiver = Receiver::start(Reply::ok());
        let endpoint = app.endpoint(org, dialect, &receiver.url(), &[event_type]).await;
        let id = publish(app, org, event_type).await;
        app.drain().await;
        let mut received = receiver.received();
        assert_eq!(received.len(), 1, "{dialect}");
        let endpoint_id = text(&endpoint["id"]).to_owned();
        sent.push((dialect, received.remove(0), secret_of(&endpoint), id, endpoint_id));
    }
    sent
}

#[tokio::test]
async fn every_dialect_sends_the_headers_and_the_bytes_of_its_document() {
    let app = TestApp::start().await;
    let org = app.org("acme").await;
    for (dialect, request, secret, id, endpoint_id) in send_all(&app, &org).await {
        // What is expected besides the signature, which is verified below.
        let at = app.clock.now().timestamp();
        let ours =
            |agent: &str| vec![("content-type", "application/json".to_owned()), ("user-agent", agent.to_owned())];
        let mut headers = ours("Inkfleet-Webhooks/1.0");
        let evt = format!("evt_{id}");
        let (signature, body) = match dialect {
            "inkode" => {
                headers.extend([
                    ("x-inkode-event", "link.clicked".to_owned()),
                    ("x-inkode-delivery", endpoint_id),
                    ("x-inkode-attempt", "1".to_owned()),
                    ("webhook-id", evt),
                ]);
                let body = format!(
                    r#"{{"event":"link.clicked","payload":{DATA_OUT},"timestamp":"2026-03-02T11:59:58.765Z"}}"#
                );
                ("x-inkode-signature", body)
            }
            "iloveqr" => {
                let body = format!(
                    r#"{{"id":"{evt}","event":"member.joined","createdAt":"2026-03-02T11:59:58Z","organizationId":"{}","data":{DATA_OUT}}}"#,
                    org.id
                );
                headers.push(("webhook-id", evt));
                ("x-webhook-signature", body)
            }
            "inklink" => {
                headers = ours("InkLink-Webhooks/1.0");
                headers.extend([("webhook-id", format!("wh_{evt}")), ("webhook-timestamp", at.to_string())]);
                let body = format!(
                    r#"{{"type":"kyc.result.approved","timestamp":"2026-03-02T11:59:58.765Z","data":{DATA_OUT}}}"#
                );
                ("webhook-signature", body)
            }
            "inkr" => {
                let body = format!(
                    r#"{{"id":"{evt}","type":"submission.completed","created_at":"2026-03-02T11:59:58.765Z","data":{{"object":{DATA_OUT}}}}}"#
                );
                headers.push(("webhook-id", evt));
                ("inkr-signature", body)
            }
            _ => {
                let body = format!(
                    r#"{{"type":"quota.threshold_75","id":"{evt}","created_at":"2026-03-02T11:59:58Z","data":{DATA_OUT}}}"#
                );
                headers.push(("webhook-id", evt));
                ("x-qrstudio-signature", body)
            }
        };
        assert_eq!(String::from_utf8(request.body.clone()).unwrap(), body, "{dialect}");
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/hook"));
        let mut names: Vec<String> = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        let mut expected: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        expected.extend(["host", "content-length", signature]);
        expected.sort_unstable();
        assert_eq!(names, expected, "{dialect}");
        for (name, value) in headers {
            assert_eq!(request.header(name), Some(value.as_str()), "{dialect} {name}");
        }
        let value = request.header(signature).unwrap();
        let start = match dialect {
            "inkode" => "sha256=".to_owned(),
            "iloveqr" => String::new(),
            "inklink" => "v1,".to_owned(),
            _ => format!("t={at},v1="),
        };
        let mac = value.strip_prefix(&start).unwrap_or_else(|| panic!("{dialect}: {value}"));
        assert_eq!(mac.len(), if dialect == "inklink" { 44 } else { 64 }, "{dialect}: {value}");

        let row = Dialect::by_name(dialect.parse::<DialectName>().unwrap());
        let check = |body: &[u8], secret: &str| {
            verify(row, |name| request.header(name), body, secret, TimeDelta::seconds(0), app.clock.now())
        };
        assert_eq!(check(&request.body, &secret), Ok(()), "{dialect}");
        assert!(check(body.replacen("58", "59", 1).as_bytes(), &secret).is_err(), "{dialect}");
    }
}

#[tokio::test]
async fn what_the_fleet_sends_is_believed_by_the_receivers_own_verifiers() {
    let app = TestApp::start().await;
    // Theirs know no other time than the machine's.
    app.clock.set(Clock::system().now());
    app.partitions().await;
    let org = app.org("acme").await;
    let cases: Vec<Value> = send_all(&app, &org)
        .await
        .into_iter()
        .map(|(dialect, request, secret, ..)| {
            let row = Dialect::by_name(dialect.parse::<DialectName>().unwrap());
            // They look headers up by the spelling of their documents; over the wire names have no case.
            let own = row.headers.iter().map(|(name, _)| *name).chain([row.signature.header]);
            let headers: serde_json::Map<String, Value> =
                own.map(|name| (name.to_owned(), json!(request.header(name)))).collect();
            let body = String::from_utf8(request.body).unwrap();
            json!({"name": dialect, "dialect": dialect, "headers": headers, "body": body, "secret": secret, "genuine": true})
        })
        .collect();
    assert_eq!(cases.len(), 5);
    let cases = Value::from(cases).to_string();
    assert_eq!(judged_wrongly_by_python(&cases), None);
    assert_eq!(judged_wrongly_by_node(&cases), None);
}
