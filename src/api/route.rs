//! A row of the HTTP surface: path, methods, who may ask, how much may be sent.

use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter};

/// What a request does, which decides whether it needs the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Shows something. Needs the token where `server.protect_reads` says so.
    Read,
    /// Changes something, or takes something in. Always needs the token.
    Write,
    /// Takes something in from a sender that proves itself to the handler, by credentials of its own.
    Own,
}

/// Largest body of a request, in bytes, where a row names no other.
pub const BODY_BYTES: usize = 1 << 20;

/// One row. `S` is what its handler is given as `State<S>`, mostly an `Arc<dyn …>` of a small trait.
pub struct Route<S> {
    pub(super) path: &'static str,
    pub(super) about: Row,
    pub(super) handler: fn(MethodFilter) -> MethodRouter<S>,
}

/// What the guard knows of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) methods: &'static [Method],
    pub(super) scope: Scope,
    pub(super) body: usize,
}

/// GET, and HEAD with it.
const GET: &[Method] = &[Method::GET, Method::HEAD];
const GET_AND_POST: &[Method] = &[Method::GET, Method::HEAD, Method::POST];
const POST: &[Method] = &[Method::POST];

impl<S> Route<S> {
    /// Something to be read. The path may hold `{parameters}` and end in `{*rest}`.
    pub const fn get(path: &'static str, handler: fn(MethodFilter) -> MethodRouter<S>) -> Self {
        Route { path, about: Row { methods: GET, scope: Scope::Read, body: BODY_BYTES }, handler }
    }

    /// Something to be read whose parameters may also come as a form: POST changes nothing.
    pub const fn query(path: &'static str, handler: fn(MethodFilter) -> MethodRouter<S>) -> Self {
        Route { path, about: Row { methods: GET_AND_POST, scope: Scope::Read, body: BODY_BYTES }, handler }
    }

    /// Something to be changed.
    pub const fn post(path: &'static str, handler: fn(MethodFilter) -> MethodRouter<S>) -> Self {
        Route { path, about: Row { methods: POST, scope: Scope::Write, body: BODY_BYTES }, handler }
    }

    /// With other methods. HEAD only together with GET.
    pub const fn methods(mut self, methods: &'static [Method]) -> Self {
        self.about.methods = methods;
        self
    }

    /// With another scope: a GET that opens a stream of samples to be taken in is a write.
    pub const fn scope(mut self, scope: Scope) -> Self {
        self.about.scope = scope;
        self
    }

    /// With another limit of the body, in bytes, as it is sent.
    pub const fn body(mut self, bytes: usize) -> Self {
        self.about.body = bytes;
        self
    }

    /// The handler under the methods of its row. Axum serves HEAD with GET's handler.
    pub(super) fn service(&self) -> MethodRouter<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let methods = self.about.methods.iter().filter(|method| **method != Method::HEAD);
        let filters = methods.filter_map(|method| MethodFilter::try_from(method.clone()).ok());
        filters.reduce(MethodFilter::or).map(self.handler).unwrap_or_default()
    }
}
