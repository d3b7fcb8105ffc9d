//! Accounts.

use super::super::super::{Anonymous, BaseUrl, Identity, Vendor};
use super::*;

#[test]
fn an_account_has_a_good_name_and_one_vendor() {
    starts(
        &error(&ACME.replace("acme", "Acme")),
        "config.toml:4:11: accounts.Acme: \"Acme\" is not a name for an account",
    );
    contains(&error("[accounts.a]\n"), "config.toml:4:1: accounts.a: this account has no vendor");
    contains(&error(&format!("{ACME}[accounts.acme.iterable]\n")), "this account has two vendors");
    contains(&errors(&format!("{MAIN}{}", ACME.replace("moengage", "moengaged")))[1], "did you mean \"moengage\"");
}

#[test]
fn an_account_has_the_documented_defaults() {
    let account = good(&format!("{MAIN}[delivery]\nlinger = \"1s\"\n{ACME}")).config.accounts.remove(0);
    assert_eq!((account.name.as_str(), account.tenant.as_str()), ("acme", "acme"));
    assert_eq!(account.accept.len(), 3);
    assert_eq!((account.max_in_flight, account.max_calls, account.linger), (4, None, Duration::from_secs(1)));
    assert_eq!(account.anonymous, Anonymous::Refuse);
    assert!(account.enabled && !account.hold && !account.flatten && account.fields.is_empty());
    let iterable = "[accounts.b.iterable]\nregion = \"https://app.eu.iterable.com/x\"\nkeys = [{ env = \"K\" }]\n";
    let account = good(&format!("{MAIN}{iterable}")).config.accounts.remove(0);
    let Vendor::Iterable(settings) = account.vendor else { panic!("an account at Iterable") };
    assert!(settings.eu && settings.prefer_user_id && settings.merge_nested_objects && !settings.single);
    assert_eq!(
        (settings.identity, settings.pages, settings.create_new_fields),
        (Identity::Hybrid, vec!["all".to_owned()], None)
    );
}

#[test]
fn settings_of_an_account_are_checked() {
    for (settings, expected) in [
        (
            "accept = [\"track\", \"identfy\"]",
            "config.toml:5:20: accounts.acme.accept[1]: \"identfy\" is not known; did you mean \"identify\"?",
        ),
        ("accept = []", "config.toml:5:10: accounts.acme.accept: no type of message is listed"),
        (
            "max_in_flight = 65",
            "config.toml:5:17: accounts.acme.max_in_flight: 65 is out of range; write a whole number from 1 to 64",
        ),
        (
            "max_calls = 0",
            "config.toml:5:13: accounts.acme.max_calls: 0 is out of range; write a whole number from 1 to",
        ),
        (
            "raw = [\"transitions\"]",
            "config.toml:5:8: accounts.acme.raw[0]: \"transitions\" is not known; did you mean \"transition\"?",
        ),
        (
            "raw = [\"customer/merge\"]",
            "config.toml:5:8: accounts.acme.raw[0]: \"customer/merge\" is not known; known here: transition, business-event",
        ),
        ("nested = \"flat\"", "config.toml:5:10: accounts.acme.nested: \"flat\" is not known"),
        ("where = [{ field = \"/a\", in = [] }]", "config.toml:5:31: accounts.acme.where[0].in: nothing is listed"),
        ("where = [{ in = [\"a\"] }]", "config.toml:5:10: accounts.acme.where[0]: field is missing"),
        ("tenant = \"../x\"", "config.toml:5:10: accounts.acme.tenant: this is not a name for a tenant"),
        ("max_age = \"0s\"", "config.toml:5:11: accounts.acme.max_age: \"0s\" is out of range"),
    ] {
        starts(&account_error(settings), expected);
    }
}

#[test]
fn a_data_center_is_a_number_or_a_url() {
    let with = |text: &str| format!("{MAIN}{}", ACME.replace("\"02\"", text));
    for (text, expected) in [
        ("\"101\"", "101"),
        ("\"https://dashboard-02.moengage.com/v4/#/x\"", "02"),
        ("\"https://api-05.moengage.com\"", "05"),
    ] {
        let Vendor::Moengage(settings) = good(&with(text)).config.accounts.remove(0).vendor else { panic!("MoEngage") };
        assert_eq!(settings.data_center, expected);
    }
    assert_eq!(
        errors(&with("\"7\""))[0],
        "config.toml:6:15: accounts.acme.moengage.data_center: \"7\" is not a data centre; known here: 01, 02, 03, 04, 05, 06, 101; or write the dashboard's URL"
    );
    contains(&errors(&with("2"))[0], "an integer does not fit here; write a string, in quotes");
    contains(&errors(&with("\"https://dashboard-02.moengage.com.evil.com\""))[0], "is not a data centre");
}

#[test]
fn settings_of_iterable_are_checked() {
    contains(&iterable_error("pages = [\"all\", \"nammed\"]"), "did you mean \"named\"?");
    contains(&iterable_error("pages = []"), "no kind of page is listed");
    contains(&iterable_error("identity = \"userid\""), "did you mean \"user_id\"?");
    contains(
        &iterable_error("registration_key = \"abc\""),
        "registration_key: a string does not fit here; write { file",
    );
    contains(
        &error("[accounts.a.iterable]\nregion = \"uk\"\nkeys = [{ env = \"K\" }]\n"),
        "known here: us, eu; or write the project's URL",
    );
}

#[test]
fn a_family_has_one_or_two_keys() {
    let keys = |keys: &str| error(&ACME.replace("{ file = \"secrets/acme\" }", keys));
    starts(&keys(""), "config.toml:7:8: accounts.acme.moengage.keys: 0 keys do not fit here; list one key, or two");
    contains(&keys("{ env = \"A\" }, { env = \"B\" }, { env = \"C\" }"), "3 keys do not fit here");
    contains(&keys("{ env = \"A\", file = \"b\" }"), "exactly one of file, env, command and value");
    contains(&keys("{ name = \"x\" }"), "exactly one of file, env, command and value");
    contains(&keys("{ env = \"A\", nam = \"x\" }"), "did you mean \"name\"?");
    contains(
        &error(&ACME.replace("keys = [{ file = \"secrets/acme\" }]", "")),
        "config.toml:4:1: accounts.acme.moengage: keys is missing",
    );
}

#[test]
fn limits_belong_to_the_vendor_and_are_not_zero() {
    let limits = |text: &str| error(&format!("{ACME}[accounts.acme.limits]\n{text}\n"));
    starts(
        &limits("users_per_minute = 0"),
        "config.toml:9:20: accounts.acme.limits.users_per_minute: a limit of 0 would send nothing",
    );
    contains(&limits("users_per_minut = 1"), "did you mean \"users_per_minute\"?");
    contains(&limits("users_per_minute = -5"), "-5 is out of range");
    starts(
        &limits("users_per_minute = 100000000000"),
        "config.toml:9:20: accounts.acme.limits.users_per_minute: 100000000000 is out of range",
    );
    contains(&limits("users_per_minute = 1.5"), "a float does not fit here; write a whole number");
    contains(&limits("requests_per_second = { events = 1 }"), "this key is not known; known here: users_per_minute");
}

#[test]
fn accounts_that_share_a_limit_agree_on_it() {
    let limits = |name: &str, number: u32| format!("[accounts.{name}.limits]\nevents_per_minute = {number}\n");
    let both = |first: u32, second: u32| {
        format!("{MAIN}{ACME}{}{}{}", limits("acme", first), ACME.replace(".acme.", ".b."), limits("b", second))
    };
    assert_eq!(good(&both(5, 5)).config.accounts.len(), 2);
    starts(
        &errors(&both(5, 6))[0],
        "config.toml:10:11: accounts.b.limits: events_per_minute is 6 here and 5 for account acme (",
    );
    let other_workspace = both(5, 6).replacen("\"W\"", "\"V\"", 1);
    assert_eq!(good(&other_workspace).config.accounts.len(), 2);
    let project = "project = \"p\"\n";
    let iterable = |name: &str, number: u32, project: &str| {
        format!(
            "[accounts.{name}.limits]\nrequests_per_second.events = {number}\n[accounts.{name}.iterable]\n\
             region = \"us\"\nkeys = [{{ env = \"K\" }}]\n{project}"
        )
    };
    contains(
        &error(&format!("{}{}", iterable("a", 1, project), iterable("b", 2, project))),
        "events is 2 here and 1 for account a",
    );
    assert_eq!(errors(&format!("{MAIN}{}{}", iterable("a", 1, ""), iterable("b", 2, ""))), [""; 0]);
    // Bulk and single endpoints have limits of their own; what has one endpoint alone has one limit.
    let mixed = |class: &str| {
        let first = iterable("a", 1, project).replace("second.events", &format!("second.{class}"));
        let single = format!("{project}delivery = \"single\"\n");
        errors(&format!(
            "{MAIN}{first}{}",
            iterable("b", 2, &single).replace("second.events", &format!("second.{class}"))
        ))
    };
    assert_eq!(mixed("users"), [""; 0]);
    contains(&mixed("commerce")[0], "commerce is 2 here and 1 for account a");
    contains(&mixed("tokens")[0], "tokens is 2 here and 1 for account a");
}

#[test]
fn an_alert_says_which_one_it_is_and_whom_it_reaches() {
    let alert = |text: &str| error(&format!("{ACME}[accounts.acme.moengage.alerts.\"OTP\"]\n{text}\n"));
    let channels = "channels = { sms = \"/properties/phone\", push = \"/userId\" }";
    contains(&alert(channels), "accounts.acme.moengage.alerts.OTP: alert_id is missing");
    contains(&alert("alert_id = \"A\""), "channels is missing");
    contains(&alert("alert_id = \"A\"\nchannels = {}"), "the alert has no channel");
    contains(&alert("alert_id = \"A\"\nchannels = { sms = \"/x\", fax = \"/x\" }"), "this key is not known");
    contains(&alert("alert_id = \"A\"\nchannels = { sms = \"phone\" }"), "\"phone\" is not a JSON pointer");
    contains(&alert(&format!("alert_id = \"A\"\n{channels}\nattributes = \"all\"")), "\"all\" is not known");
    let text = format!("{MAIN}{ACME}[accounts.acme.moengage.alerts.\"OTP\"]\nalert_id = \"A\"\n{channels}\n");
    let Vendor::Moengage(settings) = good(&text).config.accounts.remove(0).vendor else { panic!("MoEngage") };
    let alert = &settings.alerts[0];
    assert_eq!((alert.event.as_str(), alert.id.as_str(), alert.of_traits), ("OTP", "A", false));
    assert_eq!(alert.channels[0], ("SMS", vec!["properties".to_owned(), "phone".to_owned()]));
    assert_eq!(alert.channels[1].0, "PUSH");
    let hidden = format!("{text}[accounts.acme.fields]\nsha256 = [\"properties.phone\"]\n");
    contains(&errors(&hidden)[0], "this rule takes properties.phone, which the alert \"OTP\" needs");
    let both =
        text.replace("[accounts.acme.moengage.alerts", "business_events = [\"OTP\"]\n[accounts.acme.moengage.alerts");
    contains(&errors(&both)[0], "\"OTP\" stands in `business_events` and has an alert");
}

#[test]
fn rules_never_take_what_a_purchase_or_a_token_needs() {
    let iterable = |rules: &str, more: &str| {
        let account = format!("[accounts.acme.iterable]\nregion = \"us\"\nkeys = [{{ env = \"K\" }}]\n{more}\n");
        errors(&format!("{MAIN}[accounts.acme]\nfields = {{ {rules} }}\n{account}"))
    };
    contains(&iterable("drop = [\"properties.products\"]", "")[0], "takes properties.products.product_id along");
    contains(
        &iterable("sha256 = [\"properties.total\"]", "")[0],
        "this rule takes properties.total, which commerce/trackPurchase needs",
    );
    let token = "drop = [\"context.device.token\"]";
    assert_eq!(iterable(token, ""), [""; 0]);
    let needs_token = "this rule takes context.device.token, which users/registerDeviceToken needs";
    contains(&iterable(token, "registration_key = { env = \"R\" }")[0], needs_token);
    for rule in ["drop = [\"properties.campaignId\"]", "sha256 = [\"properties.templateId\"]"] {
        contains(&iterable(rule, "")[0], "which events/trackBulk needs");
    }
    let renamed = "rename = { \"properties.utm_id\" = \"campaignId\" }";
    contains(
        &iterable(renamed, "")[0],
        "accounts.acme.fields.rename.\"properties.utm_id\": this rule takes properties.campaignId",
    );
    let price = "sha256 = [\"properties.price\"]";
    assert_eq!(iterable(price, ""), [""; 0]);
    contains(&iterable(price, "cart = \"rudder\"")[0], "which commerce/updateCart of Product Added needs");
    for rule in
        ["drop = [\"context.device.token\"]", "sha256 = [\"context.device.type\"]", "drop = [\"context.device.*\"]"]
    {
        let found = account_error(&format!("fields = {{ {rule} }}"));
        contains(&found, "which the device element of an identify needs");
    }
}

#[test]
fn a_rule_that_does_nothing_is_an_error() {
    let rule = |rule: &str| account_error(&format!("fields = {{ {rule} }}"));
    assert_eq!(
        rule("drop = [\"traits.plan\", \"name\"]"),
        "config.toml:5:35: accounts.acme.fields.drop[1]: this rule does nothing: \"name\" is neither of traits nor of properties \
         or context; write \"properties.name\": it is the name of pages and screens, too"
    );
    contains(&rule("keep = [\"plan\"]"), "write \"traits.plan\" or \"properties.plan\"");
    contains(&rule("sha256 = [\"/traits/email\"]"), "fields.sha256[0]: this rule does nothing");
    contains(&rule("drop = [\"user.email\"]"), "write \"traits.email\"");
    contains(&rule("drop = [\"propertes.*\"]"), "fields.drop[0]: this rule does nothing");
    contains(&rule("rename = { \"plan\" = \"tier\" }"), "fields.rename.plan: this rule does nothing");
    contains(&rule("rename = { \"properties\" = \"attributes\" }"), "properties has this name in every message");
    for good in ["keep = [\"userId\", \"traits\"]", "drop = [\"context.ip\"]", "drop = [\"properties\"]"] {
        assert_eq!(errors(&format!("{MAIN}[accounts.acme]\nfields = {{ {good} }}\n{ACME}")), [""; 0]);
    }
}

#[test]
fn rules_never_make_what_the_vendor_refuses() {
    let rule = |rule: &str| account_error(&format!("fields = {{ {rule} }}"));
    for renamed in [
        "\"traits.note\" = \"moe_note\"",
        "\"context.traits.note\" = \"INSTALL\"",
        "\"properties.note\" = \"moe_note\"",
    ] {
        contains(&rule(&format!("rename = {{ {renamed} }}")), "MoEngage keeps the name");
    }
    let with = |account: &str, rule: &str| errors(&format!("{MAIN}[accounts.acme]\nfields = {{ {rule} }}\n{account}"));
    for taken in
        ["\"properties.note\" = \"INSTALL\"", "\"properties.a.b\" = \"moe_b\"", "\"traits.a\" = \"moe_mobile\""]
    {
        assert_eq!(with(ACME, &format!("rename = {{ {taken} }}")), [""; 0], "{taken}");
    }
    let by_id = "[accounts.acme.iterable]\nregion = \"us\"\nkeys = [{ env = \"K\" }]\nidentity = \"user_id\"\n";
    assert_eq!(with(by_id, "rename = { \"traits.note\" = \"moe_note\" }, drop = [\"traits.email\"]"), [""; 0]);
    for hashed in ["traits.email", "context.traits.email", "properties.email"] {
        contains(&with(by_id, &format!("sha256 = [\"{hashed}\"]"))[0], "is no address, and Iterable takes no other");
    }
}

#[test]
fn a_base_url_leads_to_the_vendor_to_this_machine_or_to_an_allowed_host() {
    let url = |url: &str| account_error(&format!("base_url = \"{url}\""));
    contains(&url("http://api-02.moengage.com"), "plain http would carry the key and the events in the clear");
    contains(&url("https://gateway.example.com"), "add \"gateway.example.com\" to [delivery] allow_hosts");
    contains(&url("https://api.iterable.com"), "api.iterable.com is neither the vendor's nor this machine");
    contains(&url("https://moengage.com.evil.com"), "is neither the vendor's");
    contains(&url("https://api-02.moengage.com/?x"), "no query and no fragment");
    let base =
        |settings: &str| good(&format!("{MAIN}[accounts.acme]\n{settings}\n{ACME}")).config.accounts.remove(0).base_url;
    let expected = BaseUrl { tls: false, host: "127.0.0.1".into(), port: 8080, prefix: "/moengage".into() };
    assert_eq!(base("base_url = \"http://127.0.0.1:8080/moengage/\""), Some(expected));
    let allowed = "[delivery]\nallow_hosts = [\"gateway\"]\n[accounts.acme]\nallow_plaintext = true\nbase_url = \"http://gateway\"";
    assert_eq!(errors(&format!("{MAIN}{allowed}\n{ACME}")), [""; 0]);
    let secret = url("https://user:hunter2@api-02.moengage.com");
    assert!(!secret.contains("hunter2"), "{secret}");
}

#[test]
fn rules_for_fields_never_take_an_id_that_a_call_needs() {
    let rule = |rule: &str| account_error(&format!("fields = {{ {rule} }}"));
    starts(
        &rule("drop = [\"userId\"]"),
        "config.toml:5:20: accounts.acme.fields.drop[0]: this rule takes userId, which every call needs",
    );
    contains(
        &rule("sha256 = [\"traits.id\"]"),
        "this rule takes traits.id, which every call of a message without userId needs",
    );
    contains(&rule("drop = [\"traits.*\"]"), "\"traits.*\" takes traits.userId along");
    contains(&rule("drop = [\"context\"]"), "takes context.traits.userId along");
    contains(&rule("rename = { \"messageId\" = \"id\" }"), "this rule takes messageId, which");
    contains(
        &rule("rename = { \"traits.plan\" = \"id\" }"),
        "this rule takes traits.id, which every call of a message without userId needs",
    );
    contains(&rule("rename = { \"traits.plan\" = \"a.b\" }"), "is not the name of a field");
    contains(&rule("rename = { \"traits.a\" = \"x\", \"traits.b\" = \"x\" }"), "two fields would be called \"x\"");
    contains(&rule("drop = [\"a.*.b\"]"), "\"a.*.b\" is not a path");
    contains(&rule("keep = [\"a..b\"]"), "\"a..b\" is not a path");
    let fields = |vendor: &str| {
        errors(&format!(
            "{MAIN}[accounts.acme]\nfields = {{ sha256 = [\"traits.email\"], keep = [\"userId\", \"traits.*\"] }}\n{vendor}"
        ))
    };
    assert_eq!(fields(ACME), [""; 0]);
    contains(
        &fields("[accounts.acme.iterable]\nregion = \"us\"\nkeys = [{ env = \"K\" }]\n")[0],
        "this rule takes traits.email, which every call at Iterable needs",
    );
}
