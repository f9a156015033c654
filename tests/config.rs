//! Settings: a wrong value ends the start with a sentence, a secret is never in it, and the sample misses nothing.

use std::{env, ffi::OsString, fs, path::Path};

use inkfleet::config::{LogFormat, Purpose, Settings, env_sample};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Enough for `serve` and `work`.
const ENOUGH: [(&str, &str); 4] = [
    ("DATABASE_URL", "postgres://fleet:hunter2hunter2@localhost/fleet"),
    ("INKFLEET_SECRET_KEY", KEY),
    ("INKFLEET_SESSION_JWKS_URL", "https://clerk.example/.well-known/jwks.json"),
    ("INKFLEET_SESSION_ISSUER", "https://clerk.example"),
];

#[test]
fn defaults_are_those_of_the_sample() {
    let settings = read(Purpose::Serve, &[]).unwrap();
    assert_eq!(settings.http.address().to_string(), "0.0.0.0:8080");
    assert!(!settings.webhooks.allow_private_targets);
    assert!(!settings.webhooks.allow_http_targets);
    assert_eq!(settings.webhooks.endpoint_concurrency, 32);
    assert_eq!(settings.webhooks.retention_days, 30);
    assert!(settings.workers.queues.is_empty());
    assert_eq!(settings.workers.concurrency, 256);
    assert_eq!(settings.workers.grace_seconds, 25);
    assert!(settings.cron.scheduler);
    assert_eq!(settings.limits.rate_limit_per_second, 1000);
    assert_eq!(settings.limits.rate_limit_burst, 2000);
    assert_eq!(settings.log.format, LogFormat::Text);
    assert_eq!(settings.mail.resend_base_url.as_str(), "https://api.resend.com");
}

#[test]
fn development_needs_nothing_and_allows_local_receivers_unless_told_otherwise() {
    let settings = Settings::read(Purpose::Develop, |_| None).unwrap();
    assert!(settings.http.bind.is_loopback());
    assert!(settings.webhooks.allow_private_targets && settings.webhooks.allow_http_targets);
    assert!(settings.warnings(Purpose::Develop).is_empty());

    let strict = read(Purpose::Develop, &[("INKFLEET_ALLOW_PRIVATE_TARGETS", "false")]).unwrap();
    assert!(!strict.webhooks.allow_private_targets);
}

#[test]
fn a_wrong_value_is_answered_with_a_sentence_that_names_variable_and_rule() {
    let wrong = [
        ("PORT", "eighty", "PORT must be a whole number from 0 to 65535; it is \"eighty\"."),
        ("PORT", "65536", "PORT must be a whole number from 0 to 65535; it is \"65536\"."),
        ("PORT", "-1", "PORT must be a whole number from 0 to 65535; it is \"-1\"."),
        ("BIND", "localhost", "BIND must be an IP address, such as 0.0.0.0 or ::1; it is \"localhost\"."),
        (
            "INKFLEET_PUBLIC_URL",
            "fleet.example",
            "INKFLEET_PUBLIC_URL must be an https:// or http:// URL; it is \"fleet.example\".",
        ),
        (
            "INKFLEET_ALLOW_HTTP_TARGETS",
            "perhaps",
            "INKFLEET_ALLOW_HTTP_TARGETS must be true or false; it is \"perhaps\".",
        ),
        (
            "INKFLEET_QUEUES",
            "mail,post",
            "INKFLEET_QUEUES must name queues of deliveries, mail, system, separated by commas; it is \"post\".",
        ),
        (
            "INKFLEET_SESSION_AUTHORIZED_PARTIES",
            "https://app.example/login",
            "INKFLEET_SESSION_AUTHORIZED_PARTIES must be origins such as https://app.example, separated by commas; \
             it is \"https://app.example/login\".",
        ),
        ("MAIL_FROM", "fleet", "MAIL_FROM must be an address such as Inkfleet <fleet@example.com>; it is \"fleet\"."),
        (
            "INKFLEET_ADDRESS_HEADER",
            "x forwarded for",
            "INKFLEET_ADDRESS_HEADER must be the name of a header, such as x-forwarded-for; it is \"x forwarded for\".",
        ),
        ("INKFLEET_LOG_FORMAT", "xml", "INKFLEET_LOG_FORMAT must be text or json; it is \"xml\"."),
    ];
    for (name, value, sentence) in wrong {
        assert_eq!(read(Purpose::Serve, &[(name, value)]).unwrap_err().to_string(), sentence);
    }
}

#[test]
fn a_wrong_secret_is_not_repeated() {
    let wrong = [
        ("DATABASE_URL", "mysql://fleet:hunter2hunter2@localhost/fleet"),
        ("DATABASE_DIRECT_URL", "hunter2hunter2"),
        ("INKFLEET_SECRET_KEY", "hunter2hunter2"),
        ("INKFLEET_SESSION_SIGNING_KEY", "-----BEGIN hunter2hunter2"),
        ("SMTP_URL", "hunter2hunter2"),
        ("CRON_SECRET", "hunter2hunter2"),
    ];
    for (name, value) in wrong {
        let sentence = read(Purpose::Serve, &[(name, value)]).unwrap_err().to_string();
        assert!(sentence.starts_with(&format!("{name} ")) && sentence.ends_with('.'), "{sentence}");
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }
}

#[test]
fn what_is_missing_or_too_much_for_the_purpose_is_answered_with_a_sentence() {
    let missing = [
        (Purpose::Administer, "DATABASE_URL", "DATABASE_URL must be set"),
        (Purpose::Work, "INKFLEET_SECRET_KEY", "INKFLEET_SECRET_KEY must be set"),
        (Purpose::Serve, "INKFLEET_SESSION_JWKS_URL", "INKFLEET_SESSION_JWKS_URL, INKFLEET_SESSION_PUBLIC_KEY or "),
        (Purpose::Serve, "INKFLEET_SESSION_ISSUER", "INKFLEET_SESSION_ISSUER must be set with "),
    ];
    for (purpose, name, start) in missing {
        let sentence = read(purpose, &[(name, "")]).unwrap_err().to_string();
        assert!(sentence.starts_with(start), "{sentence}");
    }
    let urls = |public: &str, short: &str| {
        read(Purpose::Serve, &[("INKFLEET_PUBLIC_URL", public), ("INKFLEET_SHORT_URL", short)])
            .map_err(|e| e.to_string())
    };
    let sentence = urls("https://fleet.example", "https://ink.example/r").unwrap_err();
    assert!(sentence.starts_with("INKFLEET_SHORT_URL must be a host without a path"), "{sentence}");
    // On one host, no address of the API could be reached any more.
    for public in ["", "https://INK.example", "https://ink.example:443/"] {
        let sentence = urls(public, "https://ink.example").unwrap_err();
        assert!(sentence.starts_with("INKFLEET_PUBLIC_URL must be set with INKFLEET_SHORT_URL"), "{sentence}");
    }
    let http = urls("https://fleet.example", "https://Ink.example:8443/").unwrap().http;
    assert_eq!(http.short("https://fleet.example").1.as_deref(), Some("ink.example:8443"));
    let mail = [("SMTP_URL", "smtp://mail.example:25"), ("RESEND_API_KEY", "re_1"), ("MAIL_FROM", "a@example.com")];
    let sentence = read(Purpose::Work, &mail).unwrap_err().to_string();
    assert_eq!(sentence, "Only one of SMTP_URL and RESEND_API_KEY may be set.");
    let sentence = read(Purpose::Work, &mail[..1]).unwrap_err().to_string();
    assert!(sentence.starts_with("MAIL_FROM must be set"), "{sentence}");
}

#[test]
fn mails_without_a_transport_are_a_warning_for_workers_only() {
    let told = |purpose| {
        let warnings = read(purpose, &[]).unwrap().warnings(purpose);
        warnings.iter().any(|sentence| sentence.contains("mailbox table"))
    };
    assert!(told(Purpose::Work));
    assert!(!told(Purpose::Serve));
}

#[test]
fn lists_and_switches_take_their_usual_spellings() {
    let settings = read(
        Purpose::Serve,
        &[
            ("INKFLEET_QUEUES", "mail, deliveries"),
            ("INKFLEET_SCHEDULER", "off"),
            ("INKFLEET_SESSION_AUTHORIZED_PARTIES", "https://app.example,http://localhost:3000"),
            ("INKFLEET_SECRET_KEY", &format!("b:{KEY},a:{KEY}")),
        ],
    );
    let settings = settings.unwrap();
    let queues: Vec<&str> = settings.workers.queues.iter().map(|queue| queue.name()).collect();
    assert_eq!(queues, ["mail", "deliveries"]);
    assert!(!settings.cron.scheduler);
    assert_eq!(settings.security.session_authorized_parties, ["https://app.example", "http://localhost:3000"]);
}

#[test]
fn the_direct_address_is_the_other_one_where_it_is_not_set() {
    use secrecy::ExposeSecret;
    let settings = read(Purpose::Serve, &[]).unwrap();
    assert_eq!(settings.database.direct_url().unwrap().expose_secret(), ENOUGH[0].1);
    let settings = read(Purpose::Serve, &[("DATABASE_DIRECT_URL", "postgres://db/fleet")]).unwrap();
    assert_eq!(settings.database.direct_url().unwrap().expose_secret(), "postgres://db/fleet");
}

#[test]
fn secrets_are_not_in_the_debug_output() {
    let more = [
        ("DATABASE_DIRECT_URL", "postgres://fleet:hunter2hunter2@db/fleet"),
        ("SMTP_URL", "smtp://fleet:hunter2hunter2@mail.example:587"),
        ("MAIL_FROM", "Inkfleet <fleet@example.com>"),
    ];
    let shown = format!("{:#?}", read(Purpose::Serve, &more).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!shown.contains(KEY), "{shown}");
}

/// `UPDATE_GENERATED=1` writes the file instead of comparing it.
#[test]
fn the_sample_file_is_what_the_settings_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.sample");
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, env_sample()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == env_sample(), ".env.sample is not up to date: run the tests once with UPDATE_GENERATED=1");
}

/// Settings that are enough, changed by `changes`; an empty value takes one away.
fn read(purpose: Purpose, changes: &[(&str, &str)]) -> Result<Settings, inkfleet::config::SettingsError> {
    Settings::read(purpose, |name| {
        let value = changes.iter().chain(&ENOUGH).find(|(wanted, _)| *wanted == name)?.1;
        Some(OsString::from(value))
    })
}
