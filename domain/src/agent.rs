//! User agents: which device, system and browser a visitor has, as far as the header tells, and whether it is a person's at
//! all. Parsed by `woothee`; what it does not tell (tablets, the programs of recent years) is told by the tables here.

/// The kinds of devices, as rows and answers name them.
pub const DEVICES: [&str; 4] = ["desktop", "mobile", "tablet", "other"];

/// Systems by what the parser says, in the spelling of those who make them, one name for all versions.
const SYSTEMS: [(&str, &str); 12] = [
    ("Windows Phone", "Windows Phone"),
    ("Windows", "Windows"),
    ("Mac OSX", "macOS"),
    ("Mac OS", "macOS"),
    ("iPhone", "iOS"),
    ("iPod", "iOS"),
    ("iOS", "iOS"),
    ("iPad", "iPadOS"),
    ("Android", "Android"),
    ("ChromeOS", "ChromeOS"),
    ("Linux", "Linux"),
    ("BSD", "BSD"),
];

/// Browsers that say of themselves that they are another, and then who they are.
const BROWSERS_WITHIN: [(&str, &str); 8] = [
    ("samsungbrowser", "Samsung Internet"),
    ("instagram", "Instagram"),
    ("fban/", "Facebook"),
    ("fbav/", "Facebook"),
    ("tiktok", "TikTok"),
    ("micromessenger", "WeChat"),
    ("duckduckgo", "DuckDuckGo"),
    ("huaweibrowser", "Huawei Browser"),
];

/// Browsers that the parser tells.
const BROWSERS: [&str; 9] =
    ["Chrome", "Edge", "Firefox", "Internet Explorer", "Opera", "Safari", "Vivaldi", "Webview", "Yandex Browser"];

/// The operating systems that are told.
pub fn systems() -> Vec<&'static str> {
    let mut names: Vec<&str> = SYSTEMS.iter().map(|(_, name)| *name).collect();
    names.dedup();
    names
}

/// The browsers that are told.
pub fn browsers() -> Vec<&'static str> {
    let mut names: Vec<&str> = BROWSERS.into_iter().chain(BROWSERS_WITHIN.iter().map(|(_, name)| *name)).collect();
    names.dedup();
    names
}

/// The longest user agent that is looked at, in bytes. No browser's is near it.
const LONGEST: usize = 1024;

/// What programs and no people call themselves, in lower case: link previews, crawlers, monitors and libraries.
const PROGRAMS: [&str; 43] = [
    "aiohttp",
    "apache-httpclient",
    "axios",
    "bot",
    "bytespider",
    "check_http",
    "claude-user",
    "crawl",
    "curl/",
    "embedly",
    "externalagent",
    "externalhit",
    "feedfetcher",
    "go-http-client",
    "google-inspectiontool",
    "googleother",
    "gptbot",
    "guzzlehttp",
    "headlesschrome",
    "http_request",
    "httpie",
    "inkfleet-",
    "java/",
    "libwww",
    "lighthouse",
    "node-fetch",
    "okhttp",
    "phantomjs",
    "pingdom",
    "postmanruntime",
    "preview",
    "prober",
    "python",
    "quora link",
    "ruby",
    "scrapy",
    "skypeuripreview",
    "slurp",
    "spider",
    "statuscake",
    "uptime",
    "wget",
    "whatsapp",
];

/// What a user agent tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agent {
    /// One of [`DEVICES`].
    pub device: &'static str,
    /// The operating system, such as `iOS`; empty where it is not known.
    pub system: &'static str,
    /// The browser, such as `Safari`; empty where it is not known.
    pub browser: &'static str,
    /// Whether a program and no person sent it. A request without a user agent comes from a program.
    pub is_bot: bool,
}

impl Agent {
    /// Reads a `User-Agent` header; empty where there is none.
    pub fn read(header: &str) -> Self {
        let header = header.get(..LONGEST.min(header.len())).unwrap_or_default();
        let lower = header.to_ascii_lowercase();
        let parsed = woothee::parser::Parser::new().parse(header);
        let category = parsed.as_ref().map_or("", |parsed| parsed.category);
        let is_bot = lower.trim().is_empty()
            || category == "crawler"
            // A phone's own name may contain the word.
            || PROGRAMS.iter().any(|word| lower.contains(word)) && !lower.contains("cubot");
        Self {
            device: device(&lower, category),
            system: parsed.as_ref().map_or("", |parsed| system(parsed.os)),
            browser: parsed.as_ref().map_or("", |parsed| browser(&lower, parsed.name)),
            is_bot,
        }
    }
}

fn device(lower: &str, category: &str) -> &'static str {
    // Android's browsers say "Mobile" on phones and leave it out on tablets.
    let tablet = lower.contains("ipad")
        || lower.contains("tablet") && !lower.contains("windows nt")
        || lower.contains("kindle")
        || lower.contains("android") && !lower.contains("mobile");
    match category {
        "pc" if !tablet => "desktop",
        _ if tablet => "tablet",
        "smartphone" | "mobilephone" => "mobile",
        _ => "other",
    }
}

fn system(parsed: &str) -> &'static str {
    SYSTEMS.iter().find(|(begins, _)| parsed.starts_with(begins)).map_or("", |(_, name)| name)
}

fn browser(lower: &str, parsed: &str) -> &'static str {
    if let Some((_, name)) = BROWSERS_WITHIN.iter().find(|(word, _)| lower.contains(word)) {
        return name;
    }
    BROWSERS.into_iter().find(|name| *name == parsed).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_are_told_apart() {
        #[rustfmt::skip]
        let known = [
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1", ("mobile", "iOS", "Safari", false)),
            ("Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1", ("tablet", "iPadOS", "Safari", false)),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36", ("desktop", "Windows", "Chrome", false)),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0", ("desktop", "Windows", "Edge", false)),
            ("Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36", ("mobile", "Android", "Chrome", false)),
            ("Mozilla/5.0 (Linux; Android 13; SM-X200) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Safari/537.36", ("tablet", "Android", "Samsung Internet", false)),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:127.0) Gecko/20100101 Firefox/127.0", ("desktop", "macOS", "Firefox", false)),
            ("Mozilla/5.0 (Linux; Android 12; CUBOT P80) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36", ("mobile", "Android", "Chrome", false)),
        ];
        for (header, (device, system, browser, is_bot)) in known {
            assert_eq!(Agent::read(header), Agent { device, system, browser, is_bot }, "{header}");
        }
        for header in [
            "",
            "  ",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "WhatsApp/2.23.20.0",
            "curl/8.5.0",
            "python-requests/2.32.3",
            "Inkfleet-Health/1.0",
        ] {
            assert!(Agent::read(header).is_bot, "{header}");
        }
    }

    #[test]
    fn what_nobody_knows_is_a_person_of_whom_nothing_is_known() {
        assert_eq!(Agent::read("Tea/1"), Agent { device: "other", ..Agent::default() });
        Agent::read(&"ü".repeat(2000));
    }
}
