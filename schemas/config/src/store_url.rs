//! The URL of the object store: what is accepted, and its one normal form.

use std::path::Path;

use url::{ParseError, Url};

use crate::tree::Value;

/// For messages.
pub(crate) const EXPECTED: &str =
    "`s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, `file:///FOLDER` or a folder's path";

/// The normal form of the URL: absolute, without a slash at its end. A plain path starts at `folder` and becomes a
/// `file` URL.
pub(crate) fn read(value: &Value, folder: &Path) -> Result<String, String> {
    let mismatch = || format!("expected {EXPECTED}, found {value}");
    let Value::Text(text) = value else { return Err(mismatch()) };
    if text.is_empty() || text.contains('\0') {
        return Err(mismatch());
    }
    let url = match Url::parse(text) {
        Ok(url) => check(text, url).map_err(|problem| problem.unwrap_or_else(mismatch))?,
        Err(ParseError::RelativeUrlWithoutBase) => of_path(&folder.join(text)).ok_or_else(mismatch)?,
        Err(_) => return Err(mismatch()),
    };
    let whole = url.as_str();
    Ok(if url.path() == "/" && url.scheme() == "file" { whole } else { whole.trim_end_matches('/') }.to_owned())
}

/// Refuses what no object store of ours has; `None` stands for the ordinary sentence.
fn check(text: &str, url: Url) -> Result<Url, Option<String>> {
    if !url.username().is_empty() || url.password().is_some() {
        // The value is not repeated: it holds a secret, and messages go to logs.
        return Err(Some(
            "expected no credentials in the URL; they come from the environment or files, as the cloud's own tools take them"
                .to_owned(),
        ));
    }
    let is_place = match url.scheme() {
        "file" => text.to_ascii_lowercase().starts_with("file:///"),
        "s3" | "gs" | "az" => url.host_str().is_some_and(|host| !host.is_empty()) && url.port().is_none(),
        _ => false,
    };
    let path = url.path().trim_matches('/');
    let is_plain = url.query().is_none() && url.fragment().is_none() && !path.contains("//");
    if is_place && is_plain { Ok(url) } else { Err(None) }
}

fn of_path(path: &Path) -> Option<Url> {
    let url = Url::from_file_path(path).ok()?;
    // Parsed again, because only that resolves `..`.
    Url::parse(url.as_str()).ok()
}
