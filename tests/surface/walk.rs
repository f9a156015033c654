//! The operations of the OpenAPI file, and what a walk over all of them needs: a proof for each, a body that it takes, ids
//! for its path, and the shape in which it must fail.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Reply, TestApp, TestOrg, app::CRON_SECRET};

/// Where nobody listens.
pub const NOWHERE: &str = "http://127.0.0.1:9/hook";

/// An operation of the OpenAPI file.
pub struct Operation {
    pub method: String,
    pub path: String,
    pub id: String,
    pub description: Value,
}

/// The OpenAPI file.
pub fn document() -> Value {
    serde_json::from_str(api::openapi::json()).unwrap()
}

/// Every operation of the file.
pub fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations: Vec<Operation> = paths
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
        })
        .map(|(path, method, operation)| Operation {
            method: method.to_uppercase(),
            path: path.clone(),
            id: operation["operationId"].as_str().unwrap().to_owned(),
            description: operation.clone(),
        })
        .collect();
    assert!(operations.len() >= 40, "the walk found {} operations only", operations.len());
    operations
}

impl Operation {
    /// Headers with the proof of an owner; none where the route is open.
    pub fn proof(&self, app: &TestApp, org: &TestOrg) -> Vec<(String, String)> {
        let scheme = self.description["security"][0].as_object().and_then(|scheme| scheme.keys().next());
        let bearer = |token: &str| ("authorization".to_owned(), format!("Bearer {token}"));
        match scheme.map(String::as_str) {
            None => vec![],
            Some("sessionToken" | "sessionCookie") => vec![bearer(&org.session(app))],
            Some("apiKeyBearer" | "apiKeyHeader" | "libraryToken" | "libraryKey") => {
                vec![("x-api-key".into(), org.key("ink_").into())]
            }
            Some("iloveqrKey") => vec![("x-api-key".into(), org.key("ilqr_").into())],
            Some("inklinkKey") => vec![("api-key".into(), org.key("secret_live_").into())],
            Some("inkrKey") => vec![bearer(org.key("inkr_"))],
            Some("cronBearer") => vec![bearer(CRON_SECRET)],
            Some("qrstudioToken") => vec![bearer(org.key("smk_"))],
            Some(other) => panic!("a security scheme without a rule in this walk: {other}"),
        }
    }

    pub fn takes_body(&self) -> bool {
        self.description.get("requestBody").is_some()
    }

    /// The names of the members of its body.
    pub fn members(&self, document: &Value) -> Vec<String> {
        let mut schema = &self.description["requestBody"]["content"]["application/json"]["schema"];
        while let Some(reference) = schema["$ref"].as_str() {
            schema = document.pointer(&reference[1..]).unwrap();
        }
        schema["properties"].as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default()
    }

    /// The names of its parameters in the query.
    pub fn query(&self) -> Vec<String> {
        let parameters = self.description["parameters"].as_array().into_iter().flatten();
        parameters.filter(|p| p["in"] == "query").map(|p| p["name"].as_str().unwrap().to_owned()).collect()
    }

    /// A body that it takes, where that names an organisation and its link.
    pub fn good_body_of(&self, org: &str, link: &str) -> Value {
        match self.id.as_str() {
            "recordConversion" => json!({
                "orgId": org, "sourceType": "link", "sourceId": link, "step": "purchase", "value": 129.99,
                "currency": "USD",
            }),
            "createAlert" => json!({"targetId": link, "kind": "silence"}),
            _ => self.good_body(),
        }
    }

    /// A body that it takes.
    pub fn good_body(&self) -> Value {
        match self.id.as_str() {
            "publishEvent" => json!({"type": "qr.created", "data": {}}),
            "publishEvents" => json!({"events": [{"type": "qr.created", "data": {}}]}),
            "createWebhookEndpoint" | "createInklinkEndpoint" => json!({"url": NOWHERE}),
            "createIloveqrWebhook" => json!({"url": NOWHERE, "events": ["qr.created"], "secret": "a-secret-of-mine"}),
            "createInkrEndpoint" => json!({"url": NOWHERE, "events": ["submission.sent"]}),
            "changeLinks" => {
                json!({"operations": [{"op": "create", "link": {"destination": "https://shop.example"}}]})
            }
            "changeQrCodes" => {
                json!({"operations": [{"op": "create", "qrCode": {"content": {"url": "https://shop.example"}}}]})
            }
            "createImport" => json!({"format": "csv", "data": "url\nhttps://shop.example"}),
            "createLink" => json!({"destination": "https://shop.example"}),
            "createQrCode" => json!({"content": {"url": "https://shop.example"}}),
            "createBarcode" => json!({"type": "CODE_128", "value": "INK-42"}),
            "createLinkPage" => json!({"title": "Acme"}),
            "createDomain" => json!({"name": "go.example.com"}),
            "openProtectedCode" => json!({"code": "protected", "password": "sesame"}),
            "updateConversionOrigins" => json!({"origins": ["https://shop.example"]}),
            "createFolder" | "createTag" => json!({"name": "A name"}),
            "createQrstudioWebhook" => json!({"url": NOWHERE, "events": ["scan.created"]}),
            _ => json!({}),
        }
    }
}

/// An endpoint of each dialect, so that what has an id in its path reaches its body and its query.
pub struct Ids {
    org: String,
    inkode: String,
    iloveqr: String,
    inklink: String,
    inkr: String,
    number: i64,
    delivery: String,
    replay: String,
    link: String,
    qr: String,
    barcode: String,
    alert: String,
    domain: String,
    page: String,
    folder: String,
    tag: String,
    import: String,
}

impl Ids {
    pub async fn make(app: &TestApp, org: &TestOrg) -> Self {
        let mut ids = vec![];
        for dialect in ["inkode", "iloveqr", "inklink", "inkr", "qrstudio"] {
            ids.push(app.endpoint(org, dialect, NOWHERE, &[]).await["id"].as_str().unwrap().to_owned());
        }
        app.publish(org, "qr.created", json!({})).await;
        let auth = format!("authorization: Bearer {}", org.session(app));
        let page = app.get(&format!("/api/webhooks/endpoints/{}/deliveries", ids[0]), &auth).await.expect(200);
        let number = sqlx::query_scalar("select number from endpoints where dialect = 'qrstudio'")
            .fetch_one(app.store.pool())
            .await
            .unwrap();
        // One that stays as it is: each story ends before it runs.
        app.leaves_jobs("replay.run");
        app.leaves_jobs("domain.verify");
        let replay = app.owner(org, "POST", "/api/webhooks/replays", None).await.expect(202);
        let protected = json!({"destination": "https://shop.example", "slug": "protected", "password": "sesame"});
        app.owner(org, "POST", "/api/links", Some(protected)).await.expect(201);
        let mut made = vec![];
        for (path, body) in [
            ("/api/links", json!({"destination": "https://shop.example"})),
            ("/api/qr", json!({"isDynamic": true, "content": {"url": "https://shop.example"}})),
            ("/api/barcode", json!({"type": "EAN_8", "value": "9638507"})),
            ("/api/domains", json!({"name": "go.acme.example"})),
            ("/api/link-pages", json!({"title": "Acme"})),
            ("/api/folders", json!({"name": "Campaigns"})),
            ("/api/tags", json!({"name": "summer"})),
        ] {
            let answer = app.owner(org, "POST", path, Some(body)).await.expect(201);
            made.push(answer["id"].as_str().unwrap().to_owned());
        }
        let [link, qr, barcode, domain, page_of_links, folder, tag] = made.try_into().unwrap();
        let alert = json!({"targetId": link, "kind": "silence"});
        let alert =
            app.owner(org, "POST", "/api/alerts", Some(alert)).await.expect(201)["id"].as_str().unwrap().to_owned();
        app.leaves_jobs("import.run");
        let file = json!({"format": "csv", "data": "url\nhttps://shop.example/imported"});
        let import = app.owner(org, "POST", "/api/imports", Some(file)).await.expect(202);
        let mut ids = ids.into_iter();
        let mut next = || ids.next().unwrap();
        Self {
            org: org.id.to_string(),
            inkode: next(),
            iloveqr: next(),
            inklink: next(),
            inkr: next(),
            number,
            delivery: page["items"][0]["id"].as_str().unwrap().to_owned(),
            replay: replay["id"].as_str().unwrap().to_owned(),
            link,
            qr,
            alert,
            barcode,
            domain,
            page: page_of_links,
            folder,
            tag,
            import: import["id"].as_str().unwrap().to_owned(),
        }
    }

    pub fn body(&self, operation: &Operation) -> Value {
        operation.good_body_of(&self.org, &self.link)
    }

    pub fn fill(&self, path: &str) -> String {
        let id = if path.starts_with("/api/webhooks/endpoints") {
            self.inkode.clone()
        } else if path.starts_with("/api/webhooks/deliveries") {
            self.delivery.clone()
        } else if path.starts_with("/api/webhooks/replays/") {
            self.replay.clone()
        } else if path.starts_with("/api/links/") {
            self.link.clone()
        } else if path.starts_with("/api/imports/") {
            self.import.clone()
        } else if path.starts_with("/api/alerts/") {
            self.alert.clone()
        } else if path.starts_with("/api/qr/") || path.starts_with("/api/canva/qr/") {
            self.qr.clone()
        } else if path.starts_with("/api/barcode/") || path.starts_with("/api/canva/barcode/") {
            self.barcode.clone()
        } else if path.starts_with("/api/link-pages/") {
            self.page.clone()
        } else if path.starts_with("/api/domains/") {
            self.domain.clone()
        } else if path.starts_with("/api/folders/") {
            self.folder.clone()
        } else if path.starts_with("/api/tags/") {
            self.tag.clone()
        } else if path.starts_with("/api/v1/webhook/") {
            self.inklink.clone()
        } else if path.starts_with("/api/v1/webhooks/") {
            self.number.to_string()
        } else if path.starts_with("/v1/webhook_endpoints") {
            self.inkr.clone()
        } else {
            String::new()
        };
        path.replace("{work}", "expire")
            .replace("{id}", &id)
            .replace("{org_id}", &self.org)
            .replace("{orgId}", &self.org)
            .replace("{webhook_id}", &self.iloveqr)
    }
}

/// Whether a failure has the shape that the surface of `path` documents, the request's id included.
pub fn in_shape(path: &str, reply: &Reply) -> bool {
    let texts = |value: &Value, names: &[&str]| names.iter().all(|name| value[*name].is_string());
    let json = &reply.json;
    let Some(id) = reply.header("x-request-id") else { return false };
    let under = |surface: &str| path.starts_with(surface) || path == surface.trim_end_matches('/');
    let media_type = reply.header("content-type");
    if under("/api/v1/webhooks/") {
        let Some(members) = json.as_object() else { return false };
        return media_type == Some("application/json")
            && !members.is_empty()
            && members.values().all(|value| value.as_str().is_some_and(|text| !text.is_empty()));
    }
    if under("/api/v1/webhook/") || under("/api/v1/organizations/") {
        let error = &json["error"];
        let fits = |detail: &Value| texts(detail, &["field", "message"]);
        return media_type == Some("application/json")
            && texts(error, &["code", "message"])
            && error["details"].as_array().is_some_and(|details| details.iter().all(fits))
            && error["requestId"] == id;
    }
    media_type == Some("application/problem+json")
        && texts(json, &["type", "title", "code", "detail"])
        && json["status"] == reply.status
        && json["requestId"] == id
}

/// Sends bytes as they are, and reads what comes back until the server closes.
pub async fn raw(app: &TestApp, head: &str, headers: &[(String, String)], body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    let mut request = format!("{head} HTTP/1.1\r\nHost: stories\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[request.as_bytes(), body].concat()).await.unwrap();
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    let json = serde_json::from_str(body).unwrap_or(Value::Null);
    Reply { status, headers, json, text: body.to_owned(), bytes: body.as_bytes().to_vec() }
}
