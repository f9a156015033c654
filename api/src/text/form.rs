//! The forms. What a dialect's row knows (ids, types, secrets) is read from it.

mod schema;

use domain::{
    barcode::{self, EXTERNAL_ID_MAX, Kind as BarcodeKind, PROVIDER_MAX, VALUE_MAX},
    conversion,
    dialect::{Choice, DIALECTS, Dialect, DialectName},
    id::{
        AlertId as Alert, BarcodeId as Barcode, ConversionId as Conversion, DeliveryId as Delivery, EventId as Event,
        ImportId as Import, JobId as Job, LinkId as Link, LinkPageId as LinkPage, OrgId as Org,
        OwnDomainId as OwnDomain, QrId as Qr, ReplayId as Replay, UserId as User,
    },
    label::Kind,
    own_domain,
    qr::content::Kind as QrKind,
};
use poem_openapi::registry::MetaSchema;

use self::schema::{catalogue, cursor, endpoint_prefixes, id, name, secret, words};
use super::Form;

macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident $(= $component:literal)?: $schema:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, PartialEq, Eq, Hash)]
        pub struct $name;
        impl Form for $name {
            $(const NAME: Option<&'static str> = Some($component);)?
            fn schema() -> MetaSchema {
                $schema
            }
        }
    )*};
}

forms! {
    /// An organisation's id.
    OrgId: id(&[Org::PREFIX]);
    /// A person's id.
    UserId: id(&[User::PREFIX]);
    /// An event's id.
    EventId: id(&[Event::PREFIX]);
    /// A delivery's id.
    DeliveryId: id(&[Delivery::PREFIX]);
    /// A replay's id.
    ReplayId: id(&[Replay::PREFIX]);
    /// An alert's id.
    AlertId: id(&[Alert::PREFIX]);
    /// A job's id.
    JobId: id(&[Job::PREFIX]);
    /// A link's id.
    LinkId: id(&[Link::PREFIX]);
    /// A link page's id.
    LinkPageId: id(&[LinkPage::PREFIX]);
    /// The title of a link page or of an entry of one.
    PageTitle: MetaSchema { min_length: Some(1), pattern: Some(r"^[^\u0000]*[^\u0000\t\n\u000b\u000c\r ][^\u0000]*$".into()), ..name(100) };
    /// The description of a link page.
    PageDescription: name(500);
    /// A language's tag (BCP 47).
    Language: MetaSchema {
        max_length: Some(35),
        pattern: Some("^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$".into()),
        example: Some("en".into()),
        ..MetaSchema::new("string")
    };
    /// An own domain's id.
    OwnDomainId: id(&[OwnDomain::PREFIX]);
    /// A domain's name.
    DomainName: MetaSchema {
        max_length: Some(own_domain::NAME_MAX),
        pattern: Some(
            "^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$".into(),
        ),
        example: Some("go.example.com".into()),
        ..MetaSchema::new("string")
    };
    /// A place in a list of links.
    LinkCursor: cursor(Link::PREFIX);
    /// A rule's or variant's id: 1 to 16 lower-case letters and digits.
    RoutingId: MetaSchema {
        pattern: Some("^[a-z0-9]{1,16}$".into()),
        example: Some("k3mp7x".into()),
        ..MetaSchema::new("string")
    };
    /// What sent a visitor: a rule, a variant, or neither.
    Branch: MetaSchema {
        pattern: Some("^((rule|variant):[a-z0-9]{1,16})?$".into()),
        example: Some("rule:k3mp7x".into()),
        ..MetaSchema::new("string")
    };
    /// A time of day.
    TimeOfDay: MetaSchema {
        pattern: Some("^([01][0-9]|2[0-3]):[0-5][0-9]$".into()),
        example: Some("09:30".into()),
        ..MetaSchema::new("string")
    };
    /// A time zone's IANA name.
    TimeZone: MetaSchema {
        pattern: Some("^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$".into()),
        example: Some("Europe/Berlin".into()),
        ..MetaSchema::new("string")
    };
    /// An address of a machine.
    IpAddress: MetaSchema {
        pattern: Some("^[0-9A-Fa-f:.]+$".into()),
        example: Some("203.0.113.7".into()),
        ..MetaSchema::new("string")
    };
    /// An import's id.
    ImportId: id(&[Import::PREFIX]);
    /// A place in a list of results.
    PlaceCursor: MetaSchema {
        pattern: Some("^[1-9][0-9]{0,8}$".into()),
        example: Some("25".into()),
        ..MetaSchema::new("string")
    };
    /// What is in a file.
    FileText: MetaSchema { min_length: Some(1), pattern: Some(r"^[^\u0000]+$".into()), ..MetaSchema::new("string") };
    /// A folder's id.
    FolderId: id(&[Kind::Folder.prefix()]);
    /// A tag's id.
    TagId: id(&[Kind::Tag.prefix()]);
    /// A folder's or a tag's id.
    AnyLabelId: id(&[Kind::Folder.prefix(), Kind::Tag.prefix()]);
    /// A code: 1 to 64 letters, digits, hyphens, underscores or dots, beginning with a letter or digit.
    Slug: MetaSchema {
        min_length: Some(1),
        max_length: Some(64),
        pattern: Some("^[A-Za-z0-9][A-Za-z0-9._-]*$".into()),
        example: Some("summer24".into()),
        ..MetaSchema::new("string")
    };
    /// Where a link may lead: any http or https address, by the WHATWG URL Standard.
    Destination: MetaSchema {
        pattern: Some(r"^https?://[^\s\\]+$".into()),
        max_length: Some(8000),
        example: Some("https://shop.example.com/summer".into()),
        ..MetaSchema::new_with_format("string", "url")
    };
    /// What a folder or tag is called: 1 to 100 characters, not only white space.
    LabelName: MetaSchema {
        min_length: Some(1),
        pattern: Some(r"^[^\u0000]*[^\u0000\t\n\u000b\u000c\r ][^\u0000]*$".into()),
        ..name(100)
    };
    /// The id of a link or a QR code.
    CodeOwnerId: id(&[Link::PREFIX, Qr::PREFIX]);
    /// What a visitor did, such as `purchase`.
    Step: MetaSchema { min_length: Some(1), example: Some("purchase".into()), ..name(conversion::STEP_MAX) };
    /// A currency's letters (ISO 4217), in upper or lower case.
    Currency: MetaSchema {
        pattern: Some("^[A-Za-z]{3}$".into()),
        example: Some("USD".into()),
        ..MetaSchema::new("string")
    };
    /// What tells repeats of a conversion.
    DedupeKey: MetaSchema { min_length: Some(1), ..name(conversion::DEDUPE_KEY_MAX) };
    /// A conversion's id.
    ConversionId: id(&[Conversion::PREFIX]);
    /// An origin of pages: a scheme, a host and a port.
    Origin: MetaSchema {
        max_length: Some(conversion::ORIGIN_MAX),
        pattern: Some(r"^https?://[^\s/?#@\\]+$".into()),
        example: Some("https://shop.example.com".into()),
        ..MetaSchema::new("string")
    };
    /// The domain that a code stands on.
    Host: MetaSchema {
        max_length: Some(253),
        pattern: Some("^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$".into()),
        example: Some("go.example.com".into()),
        ..MetaSchema::new("string")
    };
    /// A QR code's id.
    QrId: id(&[Qr::PREFIX]);
    /// A place in a list of QR codes.
    QrCursor: cursor(Qr::PREFIX);
    /// What a QR code holds.
    QrType = "QrCodeType": words("A kind of content.", &QrKind::ALL.map(QrKind::name));
    /// The text of a QR code.
    QrText: MetaSchema { min_length: Some(1), ..name(7089) };
    /// One line of 200 characters.
    Line: MetaSchema { pattern: Some(r"^[^\u0000\r\n]*$".into()), ..name(200) };
    /// The same, and not empty.
    Title: MetaSchema { min_length: Some(1), pattern: Some(r"^[^\u0000\r\n]+$".into()), ..name(200) };
    /// Lines of 1000 characters.
    Body: name(1000);
    /// A phone number: 2 to 20 digits, with what people write between them.
    PhoneNumber: MetaSchema {
        pattern: Some(r"^\+?([ ().\/-]?[0-9]){2,20}$".into()),
        max_length: Some(40),
        example: Some("+1 555 010 0199".into()),
        ..MetaSchema::new("string")
    };
    /// An e-mail address.
    EmailAddress: MetaSchema {
        pattern: Some(r"^[A-Za-z0-9.!#$%&'*+\/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?){0,2}$".into()),
        max_length: Some(254),
        example: Some("zoe@acme.example".into()),
        ..MetaSchema::new("string")
    };
    /// The name of a wireless network: up to 32 bytes.
    Ssid: MetaSchema {
        min_length: Some(1),
        max_length: Some(32),
        pattern: Some(r"^[^\u0000-\u001f\u007f-\u009f]+$".into()),
        example: Some("Cafe".into()),
        ..MetaSchema::new("string")
    };
    /// What one must know to join a wireless network.
    WifiPassword: MetaSchema { max_length: Some(64), pattern: Some("^[ -~]*$".into()), ..MetaSchema::new("string") };
    /// An RFC 3339 time, or a date.
    TimeOrDate: MetaSchema {
        pattern: Some(
            r"^(19[7-9][0-9]|[2-8][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9]))?$".into(),
        ),
        example: Some("2026-06-01T18:00:00+02:00".into()),
        ..MetaSchema::new("string")
    };
    /// A picture in base64.
    LogoData: MetaSchema {
        pattern: Some("^(data:image/(png|jpeg);base64,)?[A-Za-z0-9+/]+={0,2}$".into()),
        max_length: Some(349_600),
        ..MetaSchema::new("string")
    };
    /// A barcode's id.
    BarcodeId: id(&[Barcode::PREFIX]);
    /// What a barcode says; what its type can say is another matter.
    BarcodeValue: MetaSchema { min_length: Some(1), example: Some("4006381333931".into()), ..name(VALUE_MAX) };
    /// A colour.
    Colour: MetaSchema {
        pattern: Some("^#[0-9A-Fa-f]{6}$".into()),
        example: Some("#000000".into()),
        ..MetaSchema::new("string")
    };
    /// The name of another system, in lower case.
    Provider: MetaSchema {
        max_length: Some(PROVIDER_MAX),
        pattern: Some("^[a-z0-9][a-z0-9._-]*$".into()),
        example: Some("shopify".into()),
        ..MetaSchema::new("string")
    };
    /// The id of a thing in another system.
    ExternalId: MetaSchema { min_length: Some(1), ..name(EXTERNAL_ID_MAX) };
    /// Where a thing of another system is seen.
    ExternalUrl: MetaSchema {
        pattern: Some(r"^https?://[^\s\\]+$".into()),
        max_length: Some(barcode::URL_MAX),
        example: Some("https://shop.example.com/products/42".into()),
        ..MetaSchema::new_with_format("string", "url")
    };
    /// What visitors of a protected link must know.
    Password: MetaSchema { min_length: Some(1), ..name(200) };
    /// What a list is searched for.
    Search: name(200);
    /// The id of an endpoint of any dialect.
    EndpointId: id(&endpoint_prefixes());
    /// The id of an iloveQR webhook.
    IloveqrWebhookId: id(&[Dialect::by_name(DialectName::Iloveqr).endpoint_prefix]);
    /// The id of an InkLink endpoint.
    InklinkEndpointId: id(&[Dialect::by_name(DialectName::Inklink).endpoint_prefix]);
    /// The id of an Inkr endpoint.
    InkrEndpointId: id(&[Dialect::by_name(DialectName::Inkr).endpoint_prefix]);
    /// The id of a QR Code Agency subscription: a number.
    QrstudioWebhookId: MetaSchema {
        minimum: Some(1.0),
        example: Some(1.into()),
        ..MetaSchema::new_with_format("integer", "int64")
    };

    /// An event type of any dialect.
    AnyEventType = "EventTypeName": {
        let mut types: Vec<&str> = DIALECTS.iter().flat_map(|dialect| dialect.catalogue).copied().collect();
        types.sort_unstable();
        types.dedup();
        words("An event type of any dialect's catalogue.", &types)
    };
    /// An iloveQR event type.
    IloveqrEventType = "IloveqrEventType": catalogue("An iloveQR event type.", DialectName::Iloveqr);
    /// An InkLink event type.
    InklinkEventType = "InklinkEventType": catalogue("An InkLink event type.", DialectName::Inklink);
    /// An Inkr event type.
    InkrEventType = "InkrEventType": catalogue("An Inkr event type.", DialectName::Inkr);
    /// A QR Code Agency event type.
    QrstudioEventType = "QrstudioEventType": catalogue("A QR Code Agency event type.", DialectName::Qrstudio);

    /// Where a webhook may go, by the WHATWG URL Standard, which takes international names where RFC 3986 (`uri`) does not: https, unless the operator allows http for development.
    Target: MetaSchema {
        pattern: Some(r"^https://[^\s\\#]+$".into()),
        max_length: Some(2000),
        example: Some("https://hooks.example.com/webhooks".into()),
        ..MetaSchema::new_with_format("string", "url")
    };
    /// A URL of ours, or one that was accepted before.
    Url: MetaSchema::new_with_format("string", "url");
    /// A secret of the caller's own, for any dialect that takes one.
    OwnSecret: MetaSchema {
        min_length: DIALECTS.iter().map(|row| &row.secret).filter(|s| s.choice != Choice::Generated).map(|s| s.least).min(),
        ..secret(DialectName::Inkode)
    };
    /// A secret of the caller's own for iloveQR.
    IloveqrSecret: secret(DialectName::Iloveqr);
    /// A name of 200 characters.
    Name: name(200);
    /// A text of 2,000 characters.
    LongText: name(2000);
    /// What a rule or variant is called.
    PartName: name(100);
    /// A name of 120 characters.
    ShortName: name(120);
    /// A caller's own id of an event.
    ClientId: MetaSchema { min_length: Some(1), ..name(255) };
}

/// An `Idempotency-Key`: 1 to 255 visible ASCII characters.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey;

impl Form for IdempotencyKey {
    fn schema() -> MetaSchema {
        MetaSchema {
            min_length: Some(1),
            max_length: Some(255),
            pattern: Some("^[!-~]+$".into()),
            ..MetaSchema::new("string")
        }
    }

    fn broken(text: &str) -> Option<String> {
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        (!fits).then(|| "must be 1 to 255 visible ASCII characters".into())
    }
}

/// A type of barcode: one of a few words, of which any spelling is taken.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct BarcodeType;

impl Form for BarcodeType {
    const NAME: Option<&'static str> = Some("BarcodeType");

    fn schema() -> MetaSchema {
        words(
            "A type of barcode. Case and signs are not told apart: `ean13` and `EAN-13` are `EAN_13`.",
            &BarcodeKind::ALL.map(BarcodeKind::name),
        )
    }

    fn broken(text: &str) -> Option<String> {
        text.parse::<BarcodeKind>().err().map(|rule| rule.to_string())
    }
}
