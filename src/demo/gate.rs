//! What a web interface wants before it answers: nothing, HTTP Digest, a token from a login, or a fixed token.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

use super::device::Device;
use super::talk::{Answer, Request};

/// The password of every simulated device that has one, and the token of those that have that.
pub const PASSWORD: &str = "davylamp-demo";
/// The user of the simulated devices with HTTP Digest.
const USER: &str = "root";
const REALM: &str = "antMiner Configuration";

/// What is wanted.
#[derive(Clone, Copy)]
pub enum Gate {
    /// Nothing.
    Open,
    /// HTTP Digest, as old web servers do it.
    Digest,
    /// A token that a login gives.
    Ticket(&'static Ticket),
    /// A fixed bearer token.
    Fixed,
}

/// A login that gives a token.
pub struct Ticket {
    /// Method and path of the login, without its query.
    login: &'static str,
    /// What a right login says. Where questions go to the same path, the first of it is what makes it a login.
    wants: &'static [&'static str],
    /// How the token is given.
    gives: Gives,
    /// The header that is to carry the token, and what stands in front of it.
    header: (&'static str, &'static str),
    /// What is answered to a wrong login, and to a wrong token.
    refusals: [(u16, &'static str); 2],
    /// Whether anybody may ask so.
    open: fn(&str) -> bool,
}

/// How a login gives its token.
enum Gives {
    /// In its body: what stands in front of it, and behind it.
    Body(&'static str, &'static str),
    /// As a cookie, on the way to the first page.
    Cookie,
    /// In its body and as a cookie.
    Both(&'static str, &'static str),
}

const UNAUTHORIZED: (u16, &str) = (401, "{\"status\":401,\"error\":\"UNAUTHORIZED\"}");

/// Braiins OS: the token is the whole header.
pub const BRAIINS: Ticket = Ticket {
    login: "POST /api/v1/auth/login",
    wants: &["\"username\":\"root\"", "\"password\":\"davylamp-demo\""],
    gives: Gives::Body("{\"token\":\"", "\",\"timeout_s\":3600}"),
    header: ("authorization", ""),
    refusals: [UNAUTHORIZED; 2],
    open: |_| false,
};

/// VNish: one password and no user.
pub const VNISH: Ticket = Ticket {
    login: "POST /api/v1/unlock",
    wants: &["\"pw\":\"davylamp-demo\""],
    gives: Gives::Body("{\"token\":\"", "\"}"),
    header: BEARER,
    refusals: [UNAUTHORIZED; 2],
    open: |_| false,
};

/// Goldshell: user and password in the query.
pub const GOLDSHELL: Ticket = Ticket {
    login: "GET /user/login",
    wants: &["username=admin", "password=davylamp-demo", "cipher=false"],
    gives: Gives::Body("{\"JWT Token\":\"", "\"}"),
    header: BEARER,
    refusals: [UNAUTHORIZED; 2],
    open: |_| false,
};

/// ProtoOS: one password and no user.
pub const PROTO: Ticket = Ticket {
    login: "POST /api/v1/auth/login",
    wants: &["\"password\":\"davylamp-demo\""],
    gives: Gives::Body("{\"access_token\":\"", "\",\"refresh_token\":\"none\"}"),
    header: BEARER,
    refusals: [UNAUTHORIZED; 2],
    open: |_| false,
};

/// Innosilicon: a form, and refusals with status 200.
pub const INNOSILICON: Ticket = Ticket {
    login: "POST /api/auth",
    wants: &["username=admin", "password=davylamp-demo"],
    gives: Gives::Body("{\"success\":true,\"jwt\":\"", "\"}"),
    header: BEARER,
    refusals: [
        (200, "{\"success\":false,\"message\":\"Wrong username or password\"}"),
        (200, "{\"success\":false,\"token\":\"expired\"}"),
    ],
    open: |_| false,
};

/// MSKMINER: a form and a cookie; without it, the way to the form.
pub const MSKMINER: Ticket = Ticket {
    login: "POST /admin/login",
    wants: &["username=admin", "password=davylamp-demo"],
    gives: Gives::Cookie,
    header: ("cookie", "session="),
    refusals: [(401, "<h1>Wrong username or password</h1>"), (302, "")],
    open: |_| false,
};

/// FutureBit: a question like all others, and refusals with status 200.
pub const FUTUREBIT: Ticket = Ticket {
    login: "POST /api/graphql",
    wants: &["Auth{login", "\"password\":\"davylamp-demo\""],
    gives: Gives::Body("{\"data\":{\"Auth\":{\"login\":{\"result\":{\"accessToken\":\"", "\"},\"error\":null}}}}"),
    header: BEARER,
    refusals: [
        (
            200,
            "{\"errors\":[{\"message\":\"Invalid password\",\"path\":[\"Auth\",\"login\"],\"extensions\":{\"code\":\"UNAUTHENTICATED\"}}],\"data\":{\"Auth\":null}}",
        ),
        (
            200,
            "{\"errors\":[{\"message\":\"You must be authenticated to access this resource\",\"path\":[\"Miner\",\"stats\"],\"extensions\":{\"code\":\"UNAUTHENTICATED\"}}],\"data\":{\"Miner\":null}}",
        ),
    ],
    open: |asked| asked.contains("{Miner{online"),
};

/// FluxOS: beside commands that are open.
pub const AURADINE: Ticket = Ticket {
    login: "POST /token",
    wants: &["\"user\":\"admin\"", "\"password\":\"davylamp-demo\""],
    gives: Gives::Body("{\"STATUS\":[{\"STATUS\":\"S\"}],\"Token\":[{\"Token\":\"", "\"}],\"id\":1}"),
    header: ("token", ""),
    refusals: [UNAUTHORIZED; 2],
    open: |_| false,
};

/// SealMiner: a form and a cookie.
pub const SEALMINER: Ticket = Ticket {
    login: "POST /cgi-bin/login.php",
    wants: &["username=seal", "origin_pwd=davylamp-demo"],
    gives: Gives::Both("{\"session\":\"", "\"}"),
    header: ("cookie", "PHPSESSID="),
    refusals: [UNAUTHORIZED; 2],
    open: |_| false,
};

/// IceRiver: the page is open, what changes it is not.
pub const ICERIVER: Ticket = Ticket {
    login: "POST /user/loginpost",
    wants: &["post=6", "user=admin", "pwd=davylamp-demo"],
    gives: Gives::Both("{\"error\":0,\"message\":\"", "\"}"),
    header: ("cookie", "session="),
    refusals: [UNAUTHORIZED; 2],
    open: |asked| !asked.contains("locate="),
};

/// Braiins OS before REST: what is asked is open, what changes it is not.
pub const GRAPHQL: Ticket = Ticket {
    login: "POST /graphql",
    wants: &["{login(username:\\\"root\\\"", "password:\\\"davylamp-demo\\\""],
    gives: Gives::Both("{\"data\":{\"auth\":{\"login\":{\"void\":\"", "\"}}}}"),
    header: ("cookie", "session_id="),
    refusals: [UNAUTHORIZED; 2],
    open: |asked| !asked.contains("mutation"),
};

const BEARER: (&str, &str) = ("authorization", "Bearer ");

impl Ticket {
    fn is_login(&self, request: &Request) -> bool {
        let here = request.name().split('?').next() == Some(self.login);
        // Elsewhere a login may lack what is wanted and is one all the same.
        here && (!self.login.ends_with("graphql") || request.body.contains(self.wants[0]))
    }

    fn stops(&self, device: &Device, request: &Request) -> Option<Answer> {
        let refused = |which: usize| {
            let (status, body) = self.refusals[which];
            Some(Answer { is_refusal: true, ..Answer::new(status, body) })
        };
        if !self.is_login(request) {
            let (name, prefix) = self.header;
            let is_open = (self.open)(&format!("{} {}", request.path, request.body));
            let right = is_open || request.header(name) == Some(&*format!("{prefix}{}", device.token()));
            return if right { None } else { refused(1) };
        }
        let said = format!("{} {}", request.path, request.body);
        if !self.wants.iter().all(|want| said.contains(want)) {
            return refused(0);
        }
        device.logged_in();
        let token = device.token();
        Some(match self.gives {
            Gives::Body(before, behind) => Answer::new(200, &format!("{before}{token}{behind}")),
            Gives::Both(before, behind) => {
                let cookie = format!("{}{token}; Path=/", self.header.1);
                let body = format!("{before}{token}{behind}");
                Answer { header: Some(("Set-Cookie", cookie)), ..Answer::new(200, &body) }
            }
            Gives::Cookie => {
                let cookie = format!("session={token}; Path=/; HttpOnly");
                Answer { header: Some(("Set-Cookie", cookie)), ..Answer::new(302, "") }
            }
        })
    }
}

impl Gate {
    /// The answer of the gate itself; `None` lets the request through.
    pub fn stops(self, device: &Device, request: &Request) -> Option<Answer> {
        match self {
            Gate::Open => None,
            Gate::Digest if digest_is_right(device, request) => None,
            Gate::Digest => {
                let challenge = format!("Digest realm=\"{REALM}\", nonce=\"{}\", qop=\"auth\"", device.token());
                let header = Some(("WWW-Authenticate", challenge));
                Some(Answer { header, is_refusal: true, ..Answer::new(401, "<h1>401 Unauthorized</h1>") })
            }
            Gate::Ticket(ticket) => ticket.stops(device, request),
            Gate::Fixed if request.header("authorization") == Some(&*format!("Bearer {PASSWORD}")) => None,
            Gate::Fixed => Some(Answer { is_refusal: true, ..Answer::new(UNAUTHORIZED.0, UNAUTHORIZED.1) }),
        }
    }
}

fn hash(text: &str) -> String {
    Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 2617 with `qop=auth`.
fn digest_is_right(device: &Device, request: &Request) -> bool {
    let Some(given) = request.header("authorization").and_then(|header| header.strip_prefix("Digest ")) else {
        return false;
    };
    let parts: BTreeMap<&str, &str> = given
        .split(", ")
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim_matches('"')))
        .collect();
    let part = |name: &str| parts.get(name).copied().unwrap_or_default();
    let (who, what) =
        (hash(&format!("{USER}:{REALM}:{PASSWORD}")), hash(&format!("{}:{}", request.method, request.path)));
    let expected = hash(&format!("{who}:{}:{}:{}:auth:{what}", device.token(), part("nc"), part("cnonce")));
    part("username") == USER && part("nonce") == device.token() && part("response") == expected
}
