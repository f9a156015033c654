//! The cookies of a request.

use poem::{Request, http::header};

/// Every cookie that was sent, as name and value.
pub fn all(request: &Request) -> impl Iterator<Item = (&str, &str)> {
    let headers = request.headers().get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    headers.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// The value of the first cookie of a name.
pub fn find<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    all(request).find(|(of, _)| *of == name).map(|(_, value)| value)
}
