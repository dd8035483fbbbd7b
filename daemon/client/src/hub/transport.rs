//! Requests to the hub, each with an end: a connection that does not come or goes silent is an error, never a wait.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;
use ureq::{Agent, AgentBuilder, ErrorKind, Response};

use hotplate_home::{
    hub::HubError,
    hub::{endpoint, token, told_offline},
};

/// For the name and the connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Between two pieces of an answer.
const SILENCE: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 10;
/// Listings and small texts.
const LARGEST_ANSWER: u64 = 64 << 20;

pub(super) struct Hub {
    agent: Agent,
    endpoint: String,
    token: Option<(String, String)>,
}

/// What the hub says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The blob's name in the cache; the SHA-256 for large files.
    pub(super) etag: String,
    pub(super) size: Option<u64>,
    pub(super) commit: Option<String>,
}

/// How a request ended that is not answered with a file.
enum Refusal {
    Status(u16, Box<Response>),
    Transport(String),
}

impl Hub {
    pub(super) fn from_env() -> Result<Self, HubError> {
        if told_offline() {
            return Err(HubError::ToldOffline);
        }
        let agent = AgentBuilder::new()
            .timeout_connect(CONNECT_WITHIN)
            .timeout_read(SILENCE)
            .timeout_write(SILENCE)
            .redirects(0)
            .try_proxy_from_env(true)
            .user_agent(concat!("hotplate/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent, endpoint: endpoint(), token: token() })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The files of a revision, and its commit where the hub names it.
    pub(super) fn listing(
        &self,
        id: &str,
        revision: &str,
    ) -> Result<(Vec<String>, Option<String>), HubError> {
        let of_revision = format!("{}/api/models/{id}/revision/{}", self.endpoint, escaped(revision));
        let mut answer = self.request("GET", &of_revision, None);
        if matches!(answer, Err(Refusal::Status(404, _))) {
            // Is it the model that is not there, or the revision?
            let of_model = self.request("GET", &format!("{}/api/models/{id}", self.endpoint), None);
            match of_model {
                Ok(_) if revision != "main" => {
                    return Err(HubError::NoRevision { id: id.to_owned(), revision: revision.to_owned() });
                }
                other => answer = other,
            }
        }
        let (response, _) = answer.map_err(|refusal| self.explain(refusal, id, "the list of files"))?;
        let parsed = self.json(response)?;
        let commit = parsed.get("sha").and_then(Value::as_str).map(str::to_owned);
        let files: Vec<String> = if let Some(siblings) = parsed.get("siblings").and_then(Value::as_array) {
            siblings.iter().filter_map(|file| text(file, "rfilename")).collect()
        } else {
            let tree = format!(
                "{}/api/models/{id}/tree/{}?recursive=true",
                self.endpoint,
                escaped(commit.as_deref().unwrap_or(revision))
            );
            let answer = self.request("GET", &tree, None);
            let (response, _) = answer.map_err(|refusal| self.explain(refusal, id, "the list of files"))?;
            let tree = self.json(response)?;
            let entries = tree.as_array().map(Vec::as_slice).unwrap_or_default();
            entries.iter().filter_map(|file| text(file, "path")).collect()
        };
        // A name becomes a path.
        let plain = |file: &String| {
            file.split('/').all(|part| !matches!(part, "" | "." | "..")) && !file.contains('\\')
        };
        Ok((files.into_iter().filter(plain).collect(), commit))
    }

    fn json(&self, response: Response) -> Result<Value, HubError> {
        let bad = |why: String| HubError::BadAnswer { endpoint: self.endpoint.clone(), why };
        let mut bytes = Vec::new();
        let mut reader = response.into_reader().take(LARGEST_ANSWER);
        reader.read_to_end(&mut bytes).map_err(|error| bad(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| bad(format!("the list of files is no JSON: {error}")))
    }

    pub(super) fn metadata(&self, id: &str, revision: &str, file: &str) -> Result<Metadata, HubError> {
        let url = self.file_url(id, revision, file);
        let answer = match self.request("HEAD", &url, None) {
            // Not everything between here and the hub knows HEAD.
            Err(Refusal::Status(400 | 405 | 501, _)) => self.request("GET", &url, Some("bytes=0-0")),
            answer => answer,
        };
        let (response, told) = answer.map_err(|refusal| self.explain(refusal, id, file))?;
        let bad = |why: String| HubError::BadAnswer { endpoint: self.endpoint.clone(), why };
        // A redirect to the store of large files told already; the store's own ETag is another one.
        let etag =
            told.etag.or_else(|| header(&response, "x-linked-etag")).or_else(|| header(&response, "etag"));
        let etag = etag.as_deref().map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        let etag = etag.filter(|etag| {
            !etag.is_empty()
                && !etag.starts_with('.')
                && etag.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        });
        let etag = etag.ok_or_else(|| bad(format!("{file} has no usable ETag")))?;
        let number = |text: String| text.rsplit('/').next().and_then(|size| size.trim().parse().ok());
        let size = told.size.or_else(|| header(&response, "x-linked-size").and_then(number));
        let size = size.or_else(|| header(&response, "content-range").and_then(number));
        let size = size.or_else(|| {
            // Of a file that is sent packed, the length is not the file's.
            let packed = header(&response, "content-encoding").is_some_and(|encoding| encoding != "identity");
            if packed { None } else { header(&response, "content-length").and_then(number) }
        });
        let commit = told.commit.or_else(|| header(&response, "x-repo-commit"));
        Ok(Metadata { etag, size, commit })
    }

    /// A file's bytes from `start` on. The number says where they really begin: 0 if the hub does not know how to go on.
    pub(super) fn bytes(
        &self,
        id: &str,
        revision: &str,
        file: &str,
        start: u64,
    ) -> Result<(Box<dyn Read + Send + Sync>, u64), HubError> {
        let url = self.file_url(id, revision, file);
        let range = (start > 0).then(|| format!("bytes={start}-"));
        let (response, _) = match self.request("GET", &url, range.as_deref()) {
            Err(Refusal::Status(416, _)) => self.request("GET", &url, None),
            answer => answer,
        }
        .map_err(|refusal| self.explain(refusal, id, file))?;
        let begins = if response.status() == 206 {
            let range = header(&response, "content-range");
            let told = range.as_deref().and_then(|range| {
                range.trim_start_matches("bytes").trim().split('-').next()?.trim().parse::<u64>().ok()
            });
            told.unwrap_or(start)
        } else {
            0
        };
        Ok((response.into_reader(), begins))
    }

    fn file_url(&self, id: &str, revision: &str, file: &str) -> String {
        let file: Vec<String> = file.split('/').map(escaped).collect();
        format!("{}/{id}/resolve/{}/{}", self.endpoint, escaped(revision), file.join("/"))
    }

    /// The last answer behind all redirects, and what the first one told of a large file.
    fn request(&self, method: &str, url: &str, range: Option<&str>) -> Result<(Response, Told), Refusal> {
        let mut url = url.to_owned();
        let mut told = Told::default();
        for _ in 0..REDIRECTS {
            let mut request = self.agent.request(method, &url).set("Accept-Encoding", "identity");
            // The token is the hub's, not the store's that it sends us to.
            let ours = url.strip_prefix(&self.endpoint).is_some_and(|rest| rest.starts_with('/'));
            if let (true, Some((token, _))) = (ours, &self.token) {
                request = request.set("Authorization", &format!("Bearer {token}"));
            }
            if let Some(range) = range {
                request = request.set("Range", range);
            }
            let response = match request.call() {
                Ok(response) => response,
                Err(ureq::Error::Status(status, response)) => {
                    return Err(Refusal::Status(status, Box::new(response)));
                }
                Err(ureq::Error::Transport(error)) => {
                    let why = match error.kind() {
                        ErrorKind::Dns => "its name is not known".to_owned(),
                        ErrorKind::ConnectionFailed => "no connection".to_owned(),
                        _ => short(&error.to_string(), &url),
                    };
                    return Err(Refusal::Transport(why));
                }
            };
            if !(300..400).contains(&response.status()) {
                return Ok((response, told));
            }
            let Some(location) = header(&response, "location") else {
                return Err(Refusal::Status(response.status(), Box::new(response)));
            };
            told.etag = told.etag.or_else(|| header(&response, "x-linked-etag"));
            told.size = told.size.or_else(|| header(&response, "x-linked-size")?.parse().ok());
            told.commit = told.commit.or_else(|| header(&response, "x-repo-commit"));
            let next = joined(&url, &location);
            // All that is wanted is known, and the store may not answer HEAD.
            if method == "HEAD" && told.etag.is_some() && told.size.is_some() {
                return Ok((response, told));
            }
            url = next;
        }
        Err(Refusal::Transport(format!("it redirects more than {REDIRECTS} times")))
    }

    fn explain(&self, refusal: Refusal, id: &str, what: &str) -> HubError {
        let endpoint = self.endpoint.clone();
        let (id, what) = (id.to_owned(), what.to_owned());
        let (status, response) = match refusal {
            Refusal::Transport(why) => return HubError::Offline { endpoint, why },
            Refusal::Status(status, response) => (status, response),
        };
        let code = header(&response, "x-error-code").unwrap_or_default();
        match (status, code.as_str()) {
            (_, "GatedRepo") | (403, _) => HubError::Gated { endpoint, id },
            // The hub says 401 for what does not exist too, so as not to tell what is private.
            (401, "RepoNotFound") | (404, _) => HubError::NoModel { endpoint, id },
            (401, _) => match &self.token {
                Some((_, from)) => HubError::BadToken { endpoint, from: from.clone() },
                None => HubError::Gated { endpoint, id },
            },
            _ => HubError::Status { endpoint, status, what },
        }
    }
}

#[derive(Debug, Default)]
struct Told {
    etag: Option<String>,
    size: Option<u64>,
    commit: Option<String>,
}

fn text(object: &Value, key: &str) -> Option<String> {
    Some(object.get(key)?.as_str()?.to_owned())
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.header(name).map(str::to_owned)
}

/// A revision or a part of a path inside an address.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// Where a redirect leads, seen from `url`.
fn joined(url: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let scheme_end = url.find("://").map_or(0, |at| at + 3);
    let host_end = url[scheme_end..].find('/').map_or(url.len(), |at| scheme_end + at);
    if location.starts_with("//") {
        return format!("{}{location}", &url[..scheme_end.saturating_sub(2)]);
    }
    if location.starts_with('/') {
        return format!("{}{location}", &url[..host_end]);
    }
    let folder_end = url.rfind('/').map_or(url.len(), |at| at + 1).max(host_end);
    format!("{}{location}", &url[..folder_end])
}

/// ureq's words without the address, which is said elsewhere.
fn short(words: &str, url: &str) -> String {
    words.strip_prefix(url).unwrap_or(words).trim_start_matches(": ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say() {
        let from = "http://h:1/a/b/resolve/main/x";
        assert_eq!(joined(from, "https://cdn/y?z"), "https://cdn/y?z");
        assert_eq!(joined(from, "/c/d"), "http://h:1/c/d");
        assert_eq!(joined(from, "//other/d"), "http://other/d");
        assert_eq!(joined(from, "y"), "http://h:1/a/b/resolve/main/y");
        assert_eq!(escaped("refs/pr/1"), "refs%2Fpr%2F1");
    }
}
