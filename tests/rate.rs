//! How often a key may ask, and how it is told.

use serde_json::json;

use crate::support::{Reply, TestApp};

fn number(reply: &Reply, header: &str) -> u64 {
    reply.header(header).unwrap_or_else(|| panic!("no {header}")).parse().unwrap()
}

#[tokio::test]
async fn every_answer_tells_what_is_left_and_a_429_when_to_come_again() {
    let app = TestApp::build().rate(1, 5).start().await;
    let org = app.org("acme").await;
    let shapes = [
        ("/v1/events", format!("authorization: Bearer {}", org.key("inkr_")), "/code", json!("rate_limited")),
        (
            "/api/v1/webhook/endpoints",
            format!("api-key: {}", org.key("secret_live_")),
            "/error/code",
            json!("RATE_LIMIT_EXCEEDED"),
        ),
        (
            "/api/v1/webhooks/",
            format!("authorization: Bearer {}", org.key("smk_")),
            "/detail",
            json!("More than 5 requests at once for this key."),
        ),
        (
            "/api/webhooks/endpoints",
            format!("authorization: Bearer {}", org.session(&app)),
            "/code",
            json!("rate_limited"),
        ),
    ];
    for (path, auth, pointer, expected) in shapes {
        let first = app.get(path, &auth).await;
        assert_eq!(first.status, 200);
        assert_eq!((number(&first, "ratelimit-limit"), number(&first, "ratelimit-remaining")), (5, 4));
        assert!(number(&first, "ratelimit-reset") >= 1);
        assert_eq!(first.header("retry-after"), None);
        // A burst that is faster than the bucket fills.
        let refused = loop {
            let burst = futures::future::join_all((0..10).map(|_| app.get(path, &auth))).await;
            if let Some(refused) = burst.into_iter().find(|reply| reply.status != 200) {
                break refused;
            }
        };
        assert_eq!(refused.status, 429, "{}", refused.text);
        assert_eq!(refused.json.pointer(pointer), Some(&expected), "{}", refused.text);
        assert!((1..=2).contains(&number(&refused, "retry-after")));
        assert_eq!((number(&refused, "ratelimit-limit"), number(&refused, "ratelimit-remaining")), (5, 0));
        assert!(number(&refused, "ratelimit-reset") >= 1);
    }
    // Each key has a bucket of its own.
    app.get("/v1/events", &format!("authorization: Bearer {}", org.member_key("inkr_"))).await.expect(200);
    // Nobody's requests are counted as anybody's.
    let nobody = app.get("/v1/events", "").await;
    assert_eq!((nobody.status, nobody.header("ratelimit-limit")), (401, None));
}
