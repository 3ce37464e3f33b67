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
    /// What a right login says.
    wants: &'static [&'static str],
    /// What it answers, in front of the token and behind it.
    gives: (&'static str, &'static str),
    /// The header that carries the token, and what stands in front of it. A cookie is given in a header too.
    header: (&'static str, &'static str),
    /// What it guards: all requests, or those that hold one of these words.
    guards: &'static [&'static str],
}

/// Braiins OS: the token is the whole header.
pub const BRAIINS: Ticket = Ticket {
    login: "POST /api/v1/auth/login",
    wants: &["\"username\":\"root\"", "\"password\":\"davylamp-demo\""],
    gives: ("{\"token\":\"", "\",\"timeout_s\":3600}"),
    header: ("authorization", ""),
    guards: &[],
};

/// VNish: one password and no user.
pub const VNISH: Ticket = Ticket {
    login: "POST /api/v1/unlock",
    wants: &["\"pw\":\"davylamp-demo\""],
    gives: ("{\"token\":\"", "\"}"),
    header: ("authorization", "Bearer "),
    guards: &[],
};

/// Goldshell: user and password in the query.
pub const GOLDSHELL: Ticket = Ticket {
    login: "GET /user/login",
    wants: &["username=admin", "password=davylamp-demo", "cipher=false"],
    gives: ("{\"JWT Token\":\"", "\"}"),
    header: ("authorization", "Bearer "),
    guards: &[],
};

/// ProtoOS: one password and no user.
pub const PROTO: Ticket = Ticket {
    login: "POST /api/v1/auth/login",
    wants: &["\"password\":\"davylamp-demo\""],
    gives: ("{\"access_token\":\"", "\",\"refresh_token\":\"none\"}"),
    header: ("authorization", "Bearer "),
    guards: &[],
};

/// FluxOS: it guards what it is told.
pub const AURADINE: Ticket = Ticket {
    login: "POST /token",
    wants: &["\"user\":\"admin\"", "\"password\":\"davylamp-demo\""],
    gives: ("{\"STATUS\":[{\"STATUS\":\"S\"}],\"Token\":[{\"Token\":\"", "\"}],\"id\":1}"),
    header: ("token", ""),
    guards: &[],
};

/// SealMiner: a cookie.
pub const SEALMINER: Ticket = Ticket {
    login: "POST /cgi-bin/login.php",
    wants: &["username=seal", "origin_pwd=davylamp-demo"],
    gives: ("{\"session\":\"", "\"}"),
    header: ("cookie", "PHPSESSID="),
    guards: &[],
};

/// IceRiver: the page is open, what changes it is not.
pub const ICERIVER: Ticket = Ticket {
    login: "POST /user/loginpost",
    wants: &["post=6", "user=admin", "pwd=davylamp-demo"],
    gives: ("{\"error\":0,\"message\":\"", "\"}"),
    header: ("cookie", "session="),
    guards: &["locate="],
};

/// Braiins OS before REST: what is asked is open, what changes it is not.
pub const GRAPHQL: Ticket = Ticket {
    login: "POST /graphql",
    wants: &["{login(username:\\\"root\\\",password:\\\"davylamp-demo\\\")"],
    gives: ("{\"data\":{\"auth\":{\"login\":{\"void\":\"", "\"}}}}"),
    header: ("cookie", "session_id="),
    guards: &["mutation"],
};

impl Gate {
    /// The answer of the gate itself; `None` lets the request through.
    pub fn stops(self, device: &Device, request: &Request) -> Option<Answer> {
        let refused = || Some(Answer::new(401, "{\"status\":401,\"error\":\"UNAUTHORIZED\"}"));
        match self {
            Gate::Open => None,
            Gate::Digest if digest_is_right(device, request) => None,
            Gate::Digest => {
                let challenge = format!("Digest realm=\"{REALM}\", nonce=\"{}\", qop=\"auth\"", device.token());
                Some(Answer { challenge: Some(challenge), ..Answer::new(401, "<h1>401 Unauthorized</h1>") })
            }
            Gate::Ticket(ticket) if ticket.is_login(request) => {
                let said = format!("{} {}", request.path, request.body);
                if !ticket.wants.iter().all(|want| said.contains(want)) {
                    return refused();
                }
                device.logged_in();
                let ((before, behind), (header, prefix)) = (ticket.gives, ticket.header);
                let cookie = (header == "cookie").then(|| format!("{prefix}{}; Path=/", device.token()));
                Some(Answer { cookie, ..Answer::new(200, &format!("{before}{}{behind}", device.token())) })
            }
            Gate::Ticket(ticket) if !ticket.guards(request) => None,
            Gate::Ticket(ticket) => {
                let (header, prefix) = ticket.header;
                let right = request.header(header) == Some(&*format!("{prefix}{}", device.token()));
                if right { None } else { refused() }
            }
            Gate::Fixed if request.header("authorization") == Some(&*format!("Bearer {PASSWORD}")) => None,
            Gate::Fixed => refused(),
        }
    }
}

impl Ticket {
    fn is_login(&self, request: &Request) -> bool {
        // One path may serve everything.
        let own = request.path != "/graphql" || request.body.contains("login(");
        own && request.name().split('?').next() == Some(self.login)
    }

    fn guards(&self, request: &Request) -> bool {
        let said = format!("{} {}", request.path, request.body);
        self.guards.is_empty() || self.guards.iter().any(|word| said.contains(word))
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
