//! The style sheet and the one script, part of the program.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

const CSS: &[u8] = include_bytes!("../assets/console.css");
const LIVE: &[u8] = include_bytes!("../assets/live.js");

/// Changes with the style sheet's text, so that browsers may keep each version for ever.
pub(crate) const CSS_VERSION: u64 = fnv1a(CSS);

/// The same of the script that shows output as it comes.
pub(crate) const LIVE_VERSION: u64 = fnv1a(LIVE);

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): tells versions apart, and nothing more is asked of it.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
}

/// `GET /assets/console.css`
pub(crate) async fn css() -> Response {
    kept_for_ever("text/css; charset=utf-8", CSS)
}

/// `GET /assets/live.js`
pub(crate) async fn live() -> Response {
    kept_for_ever("text/javascript; charset=utf-8", LIVE)
}

fn kept_for_ever(content_type: &'static str, bytes: &'static [u8]) -> Response {
    let kept = "public, max-age=31536000, immutable";
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, kept)], bytes).into_response()
}
