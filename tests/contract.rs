//! The OpenAPI file as others read it: a linter, and a fuzzer that holds the file against the running program.
//!
//! Both are programs of other people, pinned in tests/contract and installed by bin/test.

mod world;

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use domain::{
    address::{LookUp, Resolve},
    plan::Plan,
};

use self::world::World;
use crate::support::{TestApp, TestOrg, app::CRON_SECRET};

const CONTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract");
/// How long the fuzzer may take in all. It needs about a minute where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(600);

#[test]
fn a_linter_finds_nothing_in_the_openapi_file() {
    let modules = env::var_os("INKFLEET_TEST_NODE_MODULES").map(PathBuf::from);
    let redocly = modules.unwrap_or_else(|| Path::new(CONTRACT).join("node_modules")).join(".bin/redocly");
    assert!(redocly.exists(), "{} is not there: run the tests by bin/test, which installs it", redocly.display());
    let output = Command::new(redocly)
        .args(["lint", "openapi/inkfleet.yaml", "--config", "tests/contract/redocly.yaml"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("REDOCLY_TELEMETRY", "off")
        .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")
        .output()
        .expect("the linter starts");
    let (found, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{found}{said}");
}

/// Every name is at a public address, and nothing is ever sent there: no fleet runs.
struct Everywhere;

impl Resolve for Everywhere {
    fn resolve<'a>(&'a self, _: &'a str) -> LookUp<'a> {
        Box::pin(async { Ok(vec!["1.1.1.1".parse().expect("an address")]) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_finds_no_answer_that_the_openapi_file_does_not_have() {
    let python = env::var_os("INKFLEET_TEST_PYTHON")
        .expect("INKFLEET_TEST_PYTHON is not set: run the tests by bin/test, which prepares the fuzzer");
    let app = TestApp::build().https_only().guarded(Everywhere).start().await;
    // On a plan that sets no limit: the fuzzer makes more than others include.
    let org = TestOrg::make(&app, "contract", Plan::Enterprise).await;
    let directory = prepare(&World::make(&app, &org).await);
    let mut command = tokio::process::Command::new(python);
    command
        .args(["-m", "schemathesis.cli", "run", "--no-color", &format!("{}/openapi.yaml", app.url)])
        .current_dir(&directory)
        .env("CONTRACT_URL", &app.url)
        .env("CONTRACT_SESSION", org.session(&app))
        .env("CONTRACT_CRON", CRON_SECRET)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", &directory)
        .env("NO_PROXY", "*")
        .kill_on_drop(true);
    for prefix in ["ink_", "ilqr_", "secret_live_", "inkr_", "smk_"] {
        let name = prefix.trim_end_matches('_').to_uppercase();
        command.env(OsString::from(format!("CONTRACT_{name}")), org.key(prefix));
    }
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = ended.unwrap_or_else(|_| panic!("the fuzzer has not ended after {PATIENCE:?}"));
    let output = output.expect("the fuzzer starts");
    let asked = ["delivery.attempt", "domain.verify", "import.run", "replay.run"];
    for kind in asked.into_iter().chain(api::cron::ROUTES.map(|(_, kind)| kind)) {
        app.leaves_jobs(kind);
    }
    let (found, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{found}{said}");
    // A run that asked nothing finds nothing.
    assert!(found.contains("Tested: "), "{found}");
}

/// A directory with the fuzzer's configuration and the ids of `world`.
fn prepare(world: &World) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("contract");
    fs::create_dir_all(&directory).unwrap();
    let read = |name| fs::read_to_string(Path::new(CONTRACT).join(name)).unwrap();
    fs::write(directory.join("hooks.py"), read("hooks.py")).unwrap();
    fs::write(directory.join("schemathesis.toml"), read("schemathesis.toml") + &world.dictionaries()).unwrap();
    directory
}
